"""A study begins with the trials of another: results from a like machine, hints from any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.analysis.budget import BudgetUsage
from autotune.analysis.front import feasible_trials, pareto_front
from autotune.components import SAMPLERS
from autotune.domain import (
    Budget,
    Categorical,
    Completed,
    CurvePoint,
    Dimension,
    FailureReason,
    Host,
    Infeasible,
    Job,
    Measurement,
    Outcome,
    Prices,
    SamplerChoice,
    SearchSpace,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.errors import IncompatibleStudyError, NotFoundError
from autotune.search.cache import ResultCache
from autotune.search.samplers.registry import make_sampler
from autotune.search.tuner import make_tuner
from autotune.search.warm_start import load_source_study
from autotune.store import SqlStore
from tests.search.small_study import HOST, InlineExecutor, RecordingObserver, measure

ELSEWHERE = replace(HOST, memory_gib=99.0)


def evaluate(job: Job, report: Any, reference: float = 0.1) -> Outcome:
    """What the formula says, with a reference workload that takes ``reference`` seconds."""
    report(CurvePoint(1, 1, 8, 0.1, 0.5, {"accuracy": 0.4}))
    if job.strategy["batch_size"] == 32:
        return Infeasible(FailureReason.OUT_OF_MEMORY, "9 GiB of 8")
    found = measure(job.strategy)
    found |= {"reference_seconds": reference, "train_seconds": 36.0, "peak_memory_gib": 2.0}
    numbers = {n: Measurement(n, v, "x", 10, samples=(1.0,)) for n, v in found.items()}
    return Completed(TrialResult(numbers))


def run(
    study: Study, store: SqlStore, tmp_path: Path, *, host: Host = HOST, reference: float = 0.1
) -> list[Trial]:
    begin_with = load_source_study(store, study, host)
    if study.name not in store.studies():
        store.create_study(study, {"fingerprint": host.fingerprint})
    tuner = make_tuner(
        study, store, make_sampler(study), InlineExecutor(), host, directory=tmp_path,
        observer=RecordingObserver(), source=begin_with,
    )  # fmt: skip
    tuner.run(lambda job, report: evaluate(job, report, reference))
    return list(store.trials(study.name))


def first(study: Study, store: SqlStore, tmp_path: Path, trials: int = 8) -> list[Trial]:
    """The study to begin with, run on :data:`HOST`."""
    return run(replace(study, budget=Budget(trials=trials)), store, tmp_path)


def second(study: Study, trials: int = 4, **changes: Any) -> Study:
    return replace(
        study, name="second", warm_start="small", budget=Budget(trials=trials), **changes
    )


def test_trials_of_a_like_machine_are_results(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    before = first(study, store, tmp_path)
    after = run(second(study), store, tmp_path)
    taken = [t for t in after if t.origin == TrialOrigin.IMPORTED]
    assert after[0].origin == TrialOrigin.DEFAULT, "the default still runs here, first"
    assert [t.strategy for t in taken] == [t.strategy for t in before[1:]]
    assert [t.state for t in taken] == [t.state for t in before[1:]]
    assert [t.metrics for t in taken] == [t.metrics for t in before[1:]]
    assert len(after) == 4 + len(taken), "they cost nothing"
    keys = [t.strategy.key for t in after]
    assert len(keys) == len(set(keys)), "and are not tried again"
    assert {t.number for t in feasible_trials(study, after)} & {t.number for t in taken}


def test_they_say_where_they_come_from(study: Study, store: SqlStore, tmp_path: Path) -> None:
    first(study, store, tmp_path)
    run(second(study), store, tmp_path)
    whole = store.trial("second", 2)
    assert [e.kind for e in whole.result.events] == ["warm_start"]
    assert "from study small, trial 2" in whole.result.events[0].message
    assert whole.result.environment == {"warm_start": "small, trial 2"}
    assert whole.result.curve == store.trial("small", 2).result.curve


def test_they_are_taken_over_once(study: Study, store: SqlStore, tmp_path: Path) -> None:
    first(study, store, tmp_path)
    before = run(second(study), store, tmp_path)
    after = run(second(study, 6), store, tmp_path)
    assert after[: len(before)] == before
    assert [t.origin for t in after[len(before) :]] == ["sampler"] * 2


def test_one_that_was_broken_off_is_taken_over_again(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    there = first(study, store, tmp_path)
    asked = second(study)
    store.create_study(asked, {})
    store.start("second", study.baseline, origin=TrialOrigin.DEFAULT, seed=0)
    store.start("second", there[1].strategy, origin=TrialOrigin.IMPORTED, seed=0)
    store.interrupt_running("second")
    after = run(asked, store, tmp_path)
    assert "rerun" not in {t.origin for t in after}
    taken = [
        t for t in after if t.origin == TrialOrigin.IMPORTED and t.state is not State.INTERRUPTED
    ]
    assert [t.strategy for t in taken] == [t.strategy for t in there[1:]]


def test_shared_numbers_point_to_the_trial_here(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    there = first(study, store, tmp_path, 5)
    known = next(t for t in there[1:] if t.state is State.COMPLETE)
    shared = Strategy({**known.strategy.values, "allocator": "tuned"})
    m = known.result.measurements["accuracy"]
    numbers = {
        "accuracy": replace(m, source=known.number), "loss": replace(m, name="loss", source=0)
    }  # fmt: skip
    store.start("small", shared, origin=TrialOrigin.SAMPLED, seed=0)
    store.finish("small", len(there), Completed(TrialResult(numbers)))
    after = run(second(study, space=_with_allocator(study)), store, tmp_path)
    (taken,) = [t for t in after if t.strategy == shared]
    (source,) = [t for t in after if t.strategy == known.strategy]
    assert taken.result.measurements["accuracy"].source == source.number
    assert taken.result.measurements["loss"].source is None, "the default was not taken over"


def _with_allocator(study: Study) -> SearchSpace:
    extra = Dimension("allocator", Categorical(("system", "tuned")))
    return replace(study.space, dimensions=(extra, *study.space.dimensions))


def test_what_this_space_does_not_offer_is_a_hint(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    there = first(study, store, tmp_path)
    narrow = replace(
        study.space,
        dimensions=tuple(
            replace(d, domain=Categorical(("fp32",))) if d.lever == "precision" else d
            for d in study.space.dimensions
        ),
    )
    after = run(second(study, space=narrow), store, tmp_path)
    origins = {t.strategy["precision"]: t.origin for t in after if t.imported}
    assert {t.strategy["precision"] for t in there} == {"fp32", "bf16"}
    assert origins["bf16"] == TrialOrigin.TRANSFERRED
    assert all(
        t.origin == TrialOrigin.IMPORTED
        for t in after
        if t.imported and t.strategy["precision"] == "fp32"
    )


def test_another_machine_gives_hints_alone(study: Study, store: SqlStore, tmp_path: Path) -> None:
    there = first(study, store, tmp_path)
    after = run(second(study), store, tmp_path, host=ELSEWHERE, reference=0.05)
    taken = [t for t in after if t.imported]
    complete = [t for t in there[1:] if t.state is State.COMPLETE]
    assert {t.origin for t in taken} == {TrialOrigin.TRANSFERRED}
    assert [t.strategy for t in taken] == [t.strategy for t in complete]
    for here, before in zip(taken, complete, strict=True):
        assert here.metric("accuracy") == before.metric("accuracy")
        speed = "train_samples_per_second"
        assert here.metric(speed) == pytest.approx(2 * (before.metric(speed) or 0.0))
        assert here.metric("train_seconds") == pytest.approx(18.0)
        assert here.metric("peak_memory_gib") == 2.0
        assert here.metric("reference_seconds") is None
    on_front = {t.number for t in pareto_front(study, after)}
    assert on_front and not on_front & {t.number for t in taken}


def test_hints_know_how_a_strategy_trains_and_not_how_fast(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    first(study, store, tmp_path)
    after = run(second(study), store, tmp_path, host=ELSEWHERE)
    hint = next(t for t in after if t.origin == TrialOrigin.TRANSFERRED)
    known = ResultCache(study).update([hint]).find(hint.strategy, 0)
    assert known.profile is None
    assert known.train == hint


def test_speeds_of_another_kind_of_device_are_no_hint(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    there = first(study, store, tmp_path, 2)
    on_gpu = Strategy({**there[1].strategy.values, "device": "cuda:0"})
    store.start("small", on_gpu, origin=TrialOrigin.SAMPLED, seed=0)
    store.finish("small", 2, evaluate_as(on_gpu))
    after = run(second(study), store, tmp_path, host=ELSEWHERE)
    (hint,) = [t for t in after if t.strategy == on_gpu]
    assert hint.metrics.keys() == {"accuracy", "peak_memory_gib"}


def evaluate_as(strategy: Strategy) -> Completed:
    found = {**measure(strategy), "reference_seconds": 0.01, "peak_memory_gib": 2.0}
    return Completed(TrialResult({n: Measurement(n, v, "x") for n, v in found.items()}))


def test_money_is_counted_at_this_studys_prices(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    first(study, store, tmp_path)
    after = run(second(study, prices=Prices(cpu_core=0.5)), store, tmp_path)
    taken = [t for t in after if t.origin == TrialOrigin.IMPORTED and t.state is State.COMPLETE]
    threads = int(taken[0].strategy["threads"])
    assert taken[0].metric("cost_usd") == pytest.approx(0.5 * threads * 36 / 3600)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_every_sampler_goes_on_from_hints(
    study: Study, store: SqlStore, tmp_path: Path, kind: str
) -> None:
    space = SearchSpace(study.space.dimensions[:4], study.space.defaults, study.space.rules)
    study = replace(study, space=space, sampler=SamplerChoice(kind, 3))
    hinted = [t.strategy for t in first(study, store, tmp_path, 10)]
    after = run(second(study, 40), store, tmp_path, host=ELSEWHERE)
    own = [t.strategy for t in after if not t.imported]
    assert len(own) == len(set(own))
    assert set(own) & set(hinted[1:]), "a hint does not keep a strategy from being tried here"


def test_they_take_no_time_and_no_trials(study: Study, store: SqlStore, tmp_path: Path) -> None:
    first(study, store, tmp_path)
    after = run(second(study), store, tmp_path)
    used, own = BudgetUsage(after, None), [t for t in after if not t.imported]
    assert used.trials == len(own) == 4
    assert used.seconds == pytest.approx(sum(t.seconds or 0.0 for t in own), abs=0.1)
    assert used.usd == pytest.approx(BudgetUsage(own, None).usd)


def test_another_task_is_refused(study: Study, store: SqlStore, tmp_path: Path) -> None:
    first(study, store, tmp_path, 2)
    other = second(study, task=replace(study.task, max_length=32))
    with pytest.raises(IncompatibleStudyError, match=r"task\.max_length is 32 here, 128 there"):
        run(other, store, tmp_path)
    assert "second" not in store.studies()


def test_a_study_that_is_not_there_is_named(study: Study, store: SqlStore, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="small"):
        run(second(study), store, tmp_path)


def test_predictions_and_runs_on_the_test_split_stay_there(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    there = first(study, store, tmp_path, 2)
    other = there[1].strategy.with_values(threads=1, batch_size=8)
    store.start("small", other, origin=TrialOrigin.SAMPLED, seed=0)
    store.finish("small", 2, Infeasible(FailureReason.PREDICTED, "would need 9 GiB"))
    store.start("small", there[1].strategy, origin=TrialOrigin.CONFIRMATION, seed=1)
    store.finish("small", 3, evaluate_as(there[1].strategy))
    after = run(second(study), store, tmp_path)
    assert [t.strategy for t in after if t.imported] == [there[1].strategy]
