"""The profile of a study's default before a search: how long one trial takes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from autotune.analysis.plan import seconds_at_profile
from autotune.domain import CurvePoint, Job, Outcome, Phase, State, Study
from autotune.domain.training import num_evaluations, task_of
from autotune.errors import AutotuneError, UsageError
from autotune.levers import required_resources
from autotune.plugins import call_with_plugins
from autotune.ports import Executor


@dataclass(frozen=True)
class DefaultProfile:
    """The estimated duration of a full trial of the default, of which its optimizer steps take
    ``training_seconds``, and the size of the training split."""

    seconds: float
    training_seconds: float
    train_samples: int


def profile_default(study: Study, executor: Executor, directory: Path) -> DefaultProfile:
    """Run the profile phase of the default in a worker, with its files below ``directory``.

    :raises AutotuneError: model or data cannot be used, or the default cannot run.
    """
    from autotune.trial import evaluate
    from autotune.trial.data.datasets import prepare_task

    if executor.clock is not None:
        raise UsageError("a replayed study has no default to profile", hint="remove --probe")
    prepared = executor.call(call_with_plugins, study.plugins, prepare_task, study.task)
    run = _ProfileRun(study, directory)
    executor.run(run.ask, evaluate, run.tell, run.should_stop)
    samples = prepared.sizes["train"]
    evaluation = prepared.sizes.get("validation", 0) / run.inference_speed
    seconds = run.seconds + evaluation * (1 + num_evaluations(study.task, study.baseline, samples))
    return DefaultProfile(seconds, run.training_seconds, samples)


@dataclass
class _ProfileRun:
    """One job, and what it reported."""

    study: Study
    directory: Path
    is_asked: bool = False
    outcome: Outcome | None = None
    point: CurvePoint | None = None
    elapsed: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def ask(self) -> Job | None:
        if self.is_asked:
            return None
        self.is_asked = True
        study, strategy = self.study, self.study.baseline
        return Job(
            study=study.name,
            trial=0,
            strategy=strategy,
            task=task_of(study.task, strategy),
            seed=study.task.seed,
            resources=required_resources(strategy),
            limits=study.limits,
            directory=str(self.directory / study.name / "0000"),
            phases=(Phase.PROFILE,),
            plugins=study.plugins,
        )

    def should_stop(self, job: Job, point: CurvePoint) -> str | None:
        self.point, self.elapsed = point, time.monotonic() - self.started
        return None

    def tell(self, job: Job, outcome: Outcome) -> None:
        self.outcome = outcome

    @property
    def seconds(self) -> float:
        """Seconds of a full trial without its evaluation. Raises :class:`AutotuneError` if the
        default did not complete its profile."""
        seconds = None if self.point is None else seconds_at_profile(self.point, self.elapsed)
        if self.outcome is None or self.outcome.state is not State.COMPLETE or seconds is None:
            reason = getattr(self.outcome, "reason", "it was interrupted")
            raise AutotuneError(f"the default cannot run: {reason}", hint="see its log above")
        return seconds

    @property
    def training_seconds(self) -> float:
        """Seconds of all optimizer steps at the speed of the profile."""
        metrics = self.point.metrics if self.point else {}
        return max(metrics.get("train_seconds", 0.0) - metrics.get("setup_seconds", 0.0), 0.0)

    @property
    def inference_speed(self) -> float:
        """Samples per second; infinite if it was not measured."""
        speed = (self.point.metrics if self.point else {}).get("inference_samples_per_second")
        return speed or float("inf")
