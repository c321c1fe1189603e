"""A started trial, from its job to its final outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autotune.domain import (
    Failed,
    FailureReason,
    Infeasible,
    Interrupted,
    Job,
    Limits,
    Outcome,
    Phase,
    Resources,
    Study,
    Teacher,
    Trial,
    TrialOrigin,
    TrialResult,
    study_phases,
)
from autotune.domain.training import task_of
from autotune.levers import required_resources, serving_threads
from autotune.tuner.cache import CACHE_MISS, CacheHit, measured_phases, merge_cached
from autotune.tuner.failures import earlier_runs, has_failed_before, without_early_verdict
from autotune.tuner.feasibility.filter import PREDICTIONS, attach_predictions
from autotune.tuner.teacher import find_teacher
from autotune.tuner.turn import Turn


@dataclass(frozen=True)
class StartedTrial:
    """A running trial of this driver: its job, the cached results that replace phases of it, and
    what was predicted of it (``None`` without predictions)."""

    trial: Trial
    job: Job
    cache_hit: CacheHit = CACHE_MISS
    predictions: Mapping[str, Any] | None = None
    is_second_run: bool = False
    """Whether an earlier run of the same strategy was lost through a fault of the machine."""


def start_trial(trial: Trial, turn: Turn, directory: Path) -> StartedTrial:
    """Prepare the job of a claimed trial, with its files below ``directory``."""
    runs, predictions = earlier_runs(trial, turn.history), None
    hit = _cache_hit(trial, runs, turn)
    if turn.feasibility is not None:
        predictions = turn.feasibility.predict(trial.strategy, turn.history)
        trial = replace(trial, result=TrialResult(environment={PREDICTIONS: predictions}))

    def folder(trial: Trial) -> str:
        return str(trial_folder(directory, turn.study, trial))

    job = Job(
        study=turn.study.name,
        trial=trial.number,
        strategy=trial.strategy,
        task=task_of(turn.study.task, trial.strategy),
        seed=trial.seed,
        resources=_resources(trial, hit, turn),
        limits=_limits(trial, turn),
        directory=folder(trial),
        hourly_usd=turn.price(trial.strategy),
        phases=hit.phases_to_run,
        on_test_split=trial.is_confirmation,
        plugins=turn.study.plugins,
        continues=tuple(map(folder, runs)),
        keeps_model=turn.study.keeps_models and not trial.has_another_seed,
        model=None if hit.model is None else hit.model.result.model,
        model_folder=None if hit.model is None else folder(hit.model),
        serving_usd=turn.serving_price(trial.strategy) if turn.study.deploys else None,
        teacher=_teacher(trial, turn, folder),
    )
    return StartedTrial(trial, job, hit, predictions, has_failed_before(trial, turn.history))


def trial_folder(directory: Path, study: Study, trial: Trial) -> Path:
    """Where ``trial`` has its files, if those of studies are below ``directory``."""
    return directory / study.name / f"{trial.number:04d}"


def _cache_hit(trial: Trial, runs: Sequence[Trial], turn: Turn) -> CacheHit:
    """The cached results for ``trial``, which continues ``runs`` if these left a checkpoint. The
    rest of a paused trial shares the speed that the paused one shared."""
    cached = turn.cache.find(trial.strategy, trial.seed)
    if trial.uses_cache:
        return cached
    is_rest = trial.origin is TrialOrigin.CONTINUED
    shares_profile = is_rest and not any(Phase.PROFILE in measured_phases(run) for run in runs)
    profile = cached.profile if shares_profile else None
    return CacheHit(profile, phases=study_phases(turn.study))


def _teacher(trial: Trial, turn: Turn, folder: Callable[[Trial], str]) -> Teacher | None:
    """The trial of the study from which ``trial`` learns, if it does."""
    if not trial.strategy["distillation"]:
        return None
    teacher = find_teacher(turn.study, [*turn.history, trial])
    if teacher is None or teacher.result.model is None:
        return None
    task = task_of(turn.study.task, teacher.strategy)
    return Teacher(teacher.number, task, teacher.result.model, folder(teacher))


def _resources(trial: Trial, hit: CacheHit, turn: Turn) -> Resources:
    resources = required_resources(trial.strategy)
    if Phase.DEPLOY not in hit.phases_to_run or turn.host is None:
        return resources
    return replace(resources, serving_threads=serving_threads(trial.strategy, turn.host))


def _limits(trial: Trial, turn: Turn) -> Limits:
    """The study's limits, with the time cut to what the budget has left."""
    limits = turn.study.limits
    minutes = [m for m in (limits.minutes, _minutes_left(trial, turn)) if m is not None]
    return replace(limits, minutes=min(minutes) if minutes else None)


def _minutes_left(trial: Trial, turn: Turn) -> float | None:
    """The minutes that the budget leaves ``trial``. Only confirmations can use what is reserved for
    them. The default can exceed the time, since nothing can be compared without it."""
    if trial.origin is TrialOrigin.DEFAULT:
        budget = replace(turn.study.budget, minutes=None)
        return turn.usage.minutes_left(budget, trial.strategy)
    return turn.minutes_left(trial.strategy, confirms=trial.is_confirmation)


def is_budget_timeout(outcome: Outcome, started: StartedTrial, limits: Limits) -> bool:
    """Whether the study's budget, and not its time limit, ended the trial."""
    return (
        isinstance(outcome, Infeasible)
        and outcome.failure is FailureReason.TIMEOUT
        and started.job.limits.minutes != limits.minutes
    )


def _as_deployment_failure(outcome: Outcome, job: Job) -> Outcome:
    """``outcome``, but a failure of a trial that only deploys says nothing about its training."""
    if job.phases != (Phase.DEPLOY,) or not isinstance(outcome, Failed | Infeasible):
        return outcome
    if outcome.failure is FailureReason.INFRASTRUCTURE:
        return outcome
    return Infeasible(FailureReason.DEPLOYMENT, outcome.reason, outcome.result)


def finalize(outcome: Outcome, started: StartedTrial, limits: Limits) -> Outcome:
    """The outcome to store: with cached results and predictions.

    A timeout caused by the study's budget is recorded as interrupted, not as infeasible, and the
    first outside kill of a strategy's worker as a fault of the machine. ``limits`` are those of
    the study.
    """
    if is_budget_timeout(outcome, started, limits):
        outcome = Interrupted("the search's budget ended", outcome.result)
    outcome = without_early_verdict(outcome, is_second_run=started.is_second_run)
    outcome = _as_deployment_failure(outcome, started.job)
    outcome = merge_cached(outcome, started.cache_hit, started.job)
    return attach_predictions(outcome, started.predictions)
