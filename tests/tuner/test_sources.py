"""Each trial source is a function of a turn: what it starts, and for what it waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from autotune.analysis.budget import BudgetUsage
from autotune.domain import (
    Budget,
    Completed,
    Confirmation,
    ExecutorConfig,
    FailureReason,
    Infeasible,
    Phase,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.ports import Proposal
from autotune.store import SqlStore
from autotune.tuner.feasibility.filter import FeasibilityFilter
from autotune.tuner.history import History
from autotune.tuner.sources import (
    Confirmations,
    Done,
    Imports,
    IsolatedReruns,
    IsolationGuard,
    PausedTrials,
    SampledTrials,
    StartQueued,
    TrialQueue,
    TrialSources,
    Wait,
)
from autotune.tuner.turn import Turn
from autotune.tuner.warm_start import SourceStudy
from tests.tuner.small_study import finished_trial, make_turn

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def running(number: int, strategy: Strategy, **changes: Any) -> Trial:
    fields = {"state": State.RUNNING, "finished_at": None, "result": TrialResult()}
    return finished_trial(number, strategy, **{**fields, **changes})


def trials(study: Study, count: int = 3) -> list[Trial]:
    """Finished trials of which all but the default are on the front."""
    settings: list[dict[str, Any]] = [
        {},
        {"threads": 2, "learning_rate": 2e-4},
        {"threads": 2, "learning_rate": 2e-4, "pruning_ratio": 0.25},
    ]
    return [finished_trial(n, study.baseline.with_values(**s)) for n, s in enumerate(settings)][
        :count
    ]


class FixedSampler:
    """Proposes one strategy, or none, and records the histories that it gets."""

    def __init__(self, strategy: Strategy | None) -> None:
        self.strategy = strategy
        self.histories: list[list[int]] = []

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        self.histories.append([trial.number for trial in history])
        return self.strategy


class FixedFeasibility:
    """Predictions as they are set, in place of a :class:`FeasibilityFilter`."""

    def __init__(self) -> None:
        self.affordable: Strategy | None = None
        self.outcome: Infeasible | None = None
        self.retry: set[int] = set()
        self.checked_phases: list[tuple[Phase, ...]] = []

    def retryable(self, history: Sequence[Trial]) -> set[int]:
        return self.retry

    def find_affordable(
        self, strategy: Strategy, history: Sequence[Trial], minutes: float | None
    ) -> Strategy | None:
        return self.affordable

    def check(
        self, strategy: Strategy, history: Sequence[Trial], phases: Sequence[Phase]
    ) -> Infeasible | None:
        self.checked_phases.append(tuple(phases))
        return self.outcome

    def as_filter(self) -> FeasibilityFilter:
        return cast(FeasibilityFilter, cast(Any, self))


# ------------------------------------------------------------------------------------------ queue


@pytest.fixture
def queue(study: Study, store: SqlStore) -> TrialQueue:
    store.create_study(study, {})
    return TrialQueue(study, store, History(store, study.name))


def test_a_queued_trial_is_started(study: Study, queue: TrialQueue) -> None:
    queued = running(1, study.baseline, state=State.QUEUED)
    assert queue.next(make_turn(study, [*trials(study, 1), queued])) == StartQueued()
    assert queue.next(make_turn(study, trials(study, 1))) is None


def test_a_queued_trial_waits_for_a_larger_budget(study: Study, queue: TrialQueue) -> None:
    study = replace(study, budget=Budget(trials=1))
    queued = running(1, study.baseline, state=State.QUEUED)
    assert queue.next(make_turn(study, [*trials(study, 1), queued])) is None


def test_a_strategy_is_queued_once(study: Study, queue: TrialQueue, store: SqlStore) -> None:
    queue.add(study.baseline, TrialOrigin.ENQUEUED)
    queue.add(study.baseline, TrialOrigin.ENQUEUED)
    (queued,) = store.trials(study.name)
    assert queued.state is State.QUEUED
    assert queued.origin is TrialOrigin.DEFAULT, "the default is the default whoever asks for it"


def test_a_strategy_is_queued_for_each_seed(
    study: Study, queue: TrialQueue, store: SqlStore
) -> None:
    queue.add(study.baseline, TrialOrigin.DEFAULT)
    queue.add(study.baseline, TrialOrigin.DEFAULT, seed=5)
    assert [trial.seed for trial in store.trials(study.name)] == [study.task.seed, 5]


def test_confirmations_and_imports_are_not_retried(
    study: Study, queue: TrialQueue, store: SqlStore
) -> None:
    origins = (
        TrialOrigin.SAMPLED,
        TrialOrigin.CONFIRMATION,
        TrialOrigin.IMPORTED,
        TrialOrigin.TRANSFERRED,
    )
    strategies = [study.baseline.with_values(batch_size=32, threads=n + 1) for n in range(4)]
    queue.retry([
        running(n, strategy, state=State.INTERRUPTED, origin=origin)
        for n, (strategy, origin) in enumerate(zip(strategies, origins, strict=True))
    ])  # fmt: skip
    (queued,) = store.trials(study.name)
    assert (queued.strategy, queued.origin) == (strategies[0], TrialOrigin.RETRY)


# ---------------------------------------------------------------------------------------- sampled


def test_the_strategy_of_the_sampler_is_proposed(study: Study) -> None:
    strategy = study.baseline.with_values(batch_size=32)
    sampler = FixedSampler(strategy)
    proposal = SampledTrials(sampler).next(make_turn(study, trials(study)))
    assert proposal == Proposal(strategy, TrialOrigin.SAMPLED, study.task.seed)
    assert sampler.histories == [[0, 1, 2]]


def test_an_exhausted_space_leaves_the_choice_to_others(study: Study) -> None:
    assert SampledTrials(FixedSampler(None)).next(make_turn(study, trials(study))) is None


@pytest.mark.parametrize(
    ("budget", "session_end"),
    [(Budget(trials=3), None), (Budget(patience=1), None), (Budget(trials=9), "stopped")],
)
def test_the_sampler_is_not_asked_after_the_search(
    study: Study, budget: Budget, session_end: str | None
) -> None:
    study, sampler = replace(study, budget=budget), FixedSampler(study.baseline)
    history = [*trials(study, 2), finished_trial(2, study.baseline.with_values(learning_rate=9e-4))]
    turn = make_turn(study, history, session_end=session_end)
    assert SampledTrials(sampler).next(turn) is None
    assert sampler.histories == []


def test_a_strategy_predicted_not_to_fit_is_proposed_with_its_outcome(study: Study) -> None:
    strategy, feasibility = study.baseline.with_values(batch_size=32), FixedFeasibility()
    feasibility.affordable = strategy
    feasibility.outcome = Infeasible(FailureReason.PREDICTED, "needs 9 GiB")
    turn = make_turn(study, trials(study), feasibility=feasibility.as_filter())
    proposal = SampledTrials(FixedSampler(strategy)).next(turn)
    assert isinstance(proposal, Proposal) and proposal.outcome == feasibility.outcome
    assert feasibility.checked_phases == [(Phase.PROFILE, Phase.TRAIN)]


def test_a_faster_strategy_replaces_one_that_takes_too_long(study: Study) -> None:
    slow, fast = (study.baseline.with_values(batch_size=size) for size in (16, 32))
    feasibility = FixedFeasibility()
    feasibility.affordable = fast
    turn = make_turn(study, trials(study), feasibility=feasibility.as_filter())
    proposal = SampledTrials(FixedSampler(slow)).next(turn)
    assert isinstance(proposal, Proposal) and proposal.strategy == fast


def test_the_search_ends_if_no_strategy_fits_in_the_budget(study: Study) -> None:
    turn = make_turn(study, trials(study), feasibility=FixedFeasibility().as_filter())
    choice = SampledTrials(FixedSampler(study.baseline.with_values(batch_size=16))).next(turn)
    assert isinstance(choice, Done) and "predicted to fit" in choice.reason


def test_a_cached_training_fits_in_any_budget_and_is_not_checked(study: Study) -> None:
    """Nothing has to run, so nothing can run out of time or memory."""
    feasibility = FixedFeasibility()
    feasibility.outcome = Infeasible(FailureReason.PREDICTED, "needs 9 GiB")
    history = trials(study)
    measurements = dict(history[0].result.measurements)
    measurements["train_samples"] = replace(measurements["accuracy"], name="train_samples")
    history[0] = replace(history[0], result=TrialResult(measurements))
    turn = make_turn(study, history, feasibility=feasibility.as_filter())
    assert turn.cache.find(study.baseline, study.task.seed).phases_to_run == ()
    proposal = SampledTrials(FixedSampler(study.baseline)).next(turn)
    assert proposal == Proposal(study.baseline, TrialOrigin.SAMPLED, study.task.seed)
    assert feasibility.checked_phases == []


def test_trials_under_a_lower_limit_are_hidden_from_the_sampler(study: Study) -> None:
    feasibility, sampler = FixedFeasibility(), FixedSampler(None)
    feasibility.retry = {1}
    source = SampledTrials(sampler)
    turn = make_turn(study, trials(study), feasibility=feasibility.as_filter())
    source.begin(turn)
    source.next(turn)
    assert sampler.histories == [[0, 2]]


# ---------------------------------------------------------------------------------------- imports


def source_study(study: Study, *, same_host: bool) -> SourceStudy:
    return SourceStudy(replace(study, name="source"), trials(study), same_host)


def test_trials_of_the_same_host_are_proposed_with_their_outcomes(study: Study) -> None:
    imports = Imports(source_study(study, same_host=True))
    history: list[Trial] = []
    while (proposal := imports.next(make_turn(study, history))) is not None:
        assert isinstance(proposal.outcome, Completed)
        assert proposal.origin is TrialOrigin.IMPORTED
        trial = running(len(history), proposal.strategy, origin=proposal.origin)
        history.append(trial.finish(proposal.outcome, NOW))
    assert [t.strategy for t in history] == [t.strategy for t in trials(study)[1:]]


def test_trials_of_another_host_wait_for_the_default(study: Study) -> None:
    imports = Imports(source_study(study, same_host=False))
    default = trials(study, 1)
    assert imports.next(make_turn(study, [])) is None
    assert imports.next(make_turn(study, [running(0, study.baseline)])) is None
    proposal = imports.next(make_turn(study, default))
    assert proposal is not None and proposal.origin is TrialOrigin.TRANSFERRED


def test_a_study_without_a_source_imports_nothing(study: Study) -> None:
    assert Imports().next(make_turn(study, trials(study))) is None


# ------------------------------------------------------------------------------------ the re-runs


def concurrent_turn(study: Study, history: Sequence[Trial], **fields: Any) -> Turn:
    return make_turn(study, history, ran_concurrently=lambda number: True, **fields)


def test_nothing_starts_while_an_isolated_rerun_is_running(study: Study) -> None:
    rerun = running(3, study.baseline, origin=TrialOrigin.ISOLATED_RERUN)
    assert isinstance(IsolationGuard().next(make_turn(study, [*trials(study), rerun])), Wait)
    assert IsolationGuard().next(make_turn(study, trials(study))) is None


def test_the_default_is_rerun_first(study: Study) -> None:
    proposal = IsolatedReruns().next(concurrent_turn(study, trials(study)))
    assert proposal == Proposal(study.baseline, TrialOrigin.ISOLATED_RERUN, study.task.seed)
    rerun = finished_trial(3, study.baseline, origin=TrialOrigin.ISOLATED_RERUN)
    proposal = IsolatedReruns().next(concurrent_turn(study, [*trials(study), rerun]))
    assert isinstance(proposal, Proposal) and proposal.strategy != study.baseline


def test_isolated_trials_are_not_rerun(study: Study) -> None:
    assert IsolatedReruns().next(make_turn(study, trials(study))) is None


def test_a_rerun_waits_for_the_front_and_for_an_idle_host(study: Study) -> None:
    sampled = running(3, study.baseline, origin=TrialOrigin.SAMPLED)
    choice = IsolatedReruns().next(concurrent_turn(study, [*trials(study), sampled]))
    assert isinstance(choice, Wait) and "front" in choice.reason
    confirmation = replace(sampled, origin=TrialOrigin.CONFIRMATION)
    choice = IsolatedReruns().next(concurrent_turn(study, [*trials(study), confirmation]))
    assert isinstance(choice, Wait) and "isolated" in choice.reason


def test_reruns_need_time_but_no_trials(study: Study) -> None:
    by_trials = replace(study, budget=Budget(trials=3))
    assert isinstance(IsolatedReruns().next(concurrent_turn(by_trials, trials(study))), Proposal)
    by_time = replace(study, budget=Budget(minutes=0.5))
    assert IsolatedReruns().next(concurrent_turn(by_time, trials(study))) is None


def test_time_for_reruns_ends_the_search_early(study: Study) -> None:
    """30 s of 42 are used and another trial takes 10; the re-runs need up to 30% of the time."""
    study = replace(study, budget=Budget(minutes=42 / 60))
    assert make_turn(study, trials(study)).search_end is None
    assert concurrent_turn(study, trials(study)).search_end is not None


# ---------------------------------------------------------------------------------- confirmations


def test_a_finalist_is_confirmed_with_another_seed(study: Study) -> None:
    study = replace(study, confirm=Confirmation(1), budget=Budget(trials=6))
    confirmed = finished_trial(3, study.baseline, origin=TrialOrigin.CONFIRMATION, seed=1)
    turn = make_turn(study, [*trials(study), confirmed, finished_trial(4, study.baseline)])
    proposal = Confirmations().next(turn)
    assert proposal is not None and proposal.origin is TrialOrigin.CONFIRMATION
    assert proposal.seed == study.task.seed + 1
    assert proposal.strategy != study.baseline
    assert turn.search_end is not None, "one of the six trials is reserved for it"


def test_the_default_is_confirmed_first(study: Study) -> None:
    study = replace(study, confirm=Confirmation(1), budget=Budget(trials=6))
    proposal = Confirmations().next(make_turn(study, trials(study)))
    assert proposal == Proposal(study.baseline, TrialOrigin.CONFIRMATION, study.task.seed + 1)


def test_nothing_is_confirmed_without_budget(study: Study) -> None:
    study = replace(study, confirm=Confirmation(1), budget=Budget(trials=3))
    assert Confirmations().next(make_turn(study, trials(study))) is None


# -------------------------------------------------------------------------------------- the order


def test_sources_are_asked_in_order_of_priority(
    study: Study, store: SqlStore, queue: TrialQueue
) -> None:
    """Everything could start: each source that is used up leaves the choice to the next."""
    study = replace(
        study, confirm=Confirmation(1), executor=ExecutorConfig(workers=2), budget=Budget(trials=9)
    )
    sources = TrialSources(
        imports=Imports(source_study(study, same_host=True)),
        queue=queue,
        paused=PausedTrials(study, store, lambda trial: None),
        sampled=SampledTrials(FixedSampler(study.baseline.with_values(batch_size=32))),
    )

    def first_choice(turn: Turn) -> Any:
        return next(c for source in sources if (c := source.next(turn)) is not None)

    def origin(choice: Any) -> TrialOrigin:
        assert isinstance(choice, Proposal)
        return choice.origin

    history = trials(study)
    assert origin(first_choice(concurrent_turn(study, history))) is TrialOrigin.IMPORTED
    for trial in trials(study)[1:]:
        imported = {"origin": TrialOrigin.IMPORTED}
        history.append(finished_trial(len(history), trial.strategy, **imported))
    queued = running(len(history), study.baseline.with_values(threads=1), state=State.QUEUED)
    assert first_choice(concurrent_turn(study, [*history, queued])) == StartQueued()
    assert origin(first_choice(concurrent_turn(study, history))) is TrialOrigin.SAMPLED
    ended = {"session_end": "the space is exhausted"}
    choice = first_choice(concurrent_turn(study, history, **ended))
    assert origin(choice) is TrialOrigin.ISOLATED_RERUN
    assert origin(first_choice(make_turn(study, history, **ended))) is TrialOrigin.CONFIRMATION


def test_a_turn_says_how_long_a_trial_can_run(study: Study) -> None:
    """30 s are used; a confirmation can also use what is reserved for it."""
    study = replace(study, confirm=Confirmation(1), budget=Budget(minutes=5))
    turn = make_turn(study, trials(study))
    assert turn.minutes_left(study.baseline, confirms=True) == pytest.approx(4.5)
    assert turn.minutes_left(study.baseline) == pytest.approx(4.5 - 20 / 60), "the default too"
    money = replace(study, confirm=None, budget=Budget(usd=1.0))
    usage = BudgetUsage(trials(study), NOW, lambda strategy: 36.0)
    minutes = make_turn(money, trials(study), usage=usage).minutes_left(study.baseline)
    assert minutes == pytest.approx((1.0 - usage.usd) / 36 * 60)
