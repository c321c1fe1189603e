"""A study imports the trials of another: as results from the same kind of host, else as hints."""

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
    SamplerConfig,
    SearchSpace,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.errors import IncompatibleStudyError, NotFoundError
from autotune.store import SqlStore
from autotune.tuner.cache import ResultCache
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner
from autotune.tuner.warm_start import load_source_study
from tests.tuner.small_study import HOST, InlineExecutor, RecordingObserver, measure

OTHER_HOST = replace(HOST, memory_gib=99.0)


def evaluate(job: Job, report: Any, reference: float = 0.1) -> Outcome:
    """The metrics of the formula, with a drift reference of ``reference`` seconds."""
    report(CurvePoint(1, 1, 8, 0.1, 0.5, {"accuracy": 0.4}))
    if job.strategy["batch_size"] == 32:
        return Infeasible(FailureReason.OUT_OF_MEMORY, "9 GiB of 8")
    metrics = measure(job.strategy)
    metrics |= {"reference_seconds": reference, "train_seconds": 36.0, "peak_memory_gib": 2.0}
    numbers = {n: Measurement(n, v, "x", 10, samples=(1.0,)) for n, v in metrics.items()}
    return Completed(TrialResult(numbers))


def run(
    study: Study, store: SqlStore, tmp_path: Path, *, host: Host = HOST, reference: float = 0.1
) -> list[Trial]:
    source = load_source_study(store, study, host)
    if study.name not in store.studies():
        store.create_study(study, {"fingerprint": host.fingerprint})
    tuner = make_tuner(
        study, store, make_sampler(study), InlineExecutor(), host, directory=tmp_path,
        observer=RecordingObserver(), source=source,
    )  # fmt: skip
    tuner.run(lambda job, report: evaluate(job, report, reference))
    return list(store.trials(study.name))


def first(study: Study, store: SqlStore, tmp_path: Path, trials: int = 8) -> list[Trial]:
    """The source study, run on :data:`HOST`."""
    return run(replace(study, budget=Budget(trials=trials)), store, tmp_path)


def second(study: Study, trials: int = 4, **changes: Any) -> Study:
    return replace(
        study, name="second", warm_start="small", budget=Budget(trials=trials), **changes
    )


def test_trials_of_the_same_host_are_results(study: Study, store: SqlStore, tmp_path: Path) -> None:
    before = first(study, store, tmp_path)
    after = run(second(study), store, tmp_path)
    imports = [t for t in after if t.origin == TrialOrigin.IMPORTED]
    assert after[0].origin == TrialOrigin.DEFAULT, "the default still runs here, first"
    assert [t.strategy for t in imports] == [t.strategy for t in before[1:]]
    assert [t.state for t in imports] == [t.state for t in before[1:]]
    assert [t.metrics for t in imports] == [t.metrics for t in before[1:]]
    assert len(after) == 4 + len(imports), "imports do not count against the budget"
    keys = [t.strategy.key for t in after]
    assert len(keys) == len(set(keys)), "and are not run again"
    assert {t.number for t in feasible_trials(study, after)} & {t.number for t in imports}


def test_imports_name_their_source(study: Study, store: SqlStore, tmp_path: Path) -> None:
    first(study, store, tmp_path)
    run(second(study), store, tmp_path)
    trial = store.trial("second", 2)
    assert [e.kind for e in trial.result.events] == ["warm_start"]
    assert "from study small, trial 2" in trial.result.events[0].message
    assert trial.result.environment == {"warm_start": "small, trial 2"}
    assert trial.result.curve == store.trial("small", 2).result.curve


def test_trials_are_imported_once(study: Study, store: SqlStore, tmp_path: Path) -> None:
    first(study, store, tmp_path)
    before = run(second(study), store, tmp_path)
    after = run(second(study, 6), store, tmp_path)
    assert after[: len(before)] == before
    later = after[len(before) :]
    assert len(later) == 2 and not any(trial.is_imported for trial in later)


def test_an_interrupted_import_is_repeated(study: Study, store: SqlStore, tmp_path: Path) -> None:
    source_trials = first(study, store, tmp_path)
    importing = second(study)
    store.create_study(importing, {})
    store.start("second", study.baseline, origin=TrialOrigin.DEFAULT, seed=0)
    store.start("second", source_trials[1].strategy, origin=TrialOrigin.IMPORTED, seed=0)
    store.interrupt_running("second")
    after = run(importing, store, tmp_path)
    assert "rerun" not in {t.origin for t in after}
    imports = [
        t for t in after if t.origin == TrialOrigin.IMPORTED and t.state is not State.INTERRUPTED
    ]
    assert [t.strategy for t in imports] == [t.strategy for t in source_trials[1:]]


def test_cached_results_name_the_imported_trial(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    source_trials = first(study, store, tmp_path, 5)
    complete = next(t for t in source_trials[1:] if t.state is State.COMPLETE)
    cached = Strategy({**complete.strategy.values, "allocator": "tuned"})
    m = complete.result.measurements["accuracy"]
    numbers = {
        "accuracy": replace(m, source=complete.number), "loss": replace(m, name="loss", source=0)
    }  # fmt: skip
    store.start("small", cached, origin=TrialOrigin.SAMPLED, seed=0)
    store.finish("small", len(source_trials), Completed(TrialResult(numbers)))
    after = run(second(study, space=_with_allocator(study)), store, tmp_path)
    (imported,) = [t for t in after if t.strategy == cached]
    (source,) = [t for t in after if t.strategy == complete.strategy]
    assert imported.result.measurements["accuracy"].source == source.number
    assert imported.result.measurements["loss"].source is None, "the default is not imported"


def _with_allocator(study: Study) -> SearchSpace:
    extra = Dimension("allocator", Categorical(("system", "tuned")))
    return replace(study.space, dimensions=(extra, *study.space.dimensions))


def test_a_strategy_outside_of_the_space_is_a_hint(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    source_trials = first(study, store, tmp_path)
    narrow = replace(
        study.space,
        dimensions=tuple(
            replace(d, domain=Categorical(("fp32",))) if d.lever == "precision" else d
            for d in study.space.dimensions
        ),
    )
    after = run(second(study, space=narrow), store, tmp_path)
    origins = {t.strategy["precision"]: t.origin for t in after if t.is_imported}
    assert {t.strategy["precision"] for t in source_trials} == {"fp32", "bf16"}
    assert origins["bf16"] == TrialOrigin.TRANSFERRED
    assert all(
        t.origin == TrialOrigin.IMPORTED
        for t in after
        if t.is_imported and t.strategy["precision"] == "fp32"
    )


def test_trials_of_another_host_are_hints(study: Study, store: SqlStore, tmp_path: Path) -> None:
    source_trials = first(study, store, tmp_path)
    after = run(second(study), store, tmp_path, host=OTHER_HOST, reference=0.05)
    imports = [t for t in after if t.is_imported]
    complete = [t for t in source_trials[1:] if t.state is State.COMPLETE]
    assert {t.origin for t in imports} == {TrialOrigin.TRANSFERRED}
    assert [t.strategy for t in imports] == [t.strategy for t in complete]
    for here, before in zip(imports, complete, strict=True):
        assert here.metric("accuracy") == before.metric("accuracy")
        speed = "train_samples_per_second"
        assert here.metric(speed) == pytest.approx(2 * (before.metric(speed) or 0.0))
        assert here.metric("train_seconds") == pytest.approx(18.0)
        assert here.metric("peak_memory_gib") == 2.0
        assert here.metric("reference_seconds") is None
    on_front = {t.number for t in pareto_front(study, after)}
    assert on_front and not on_front & {t.number for t in imports}


def test_hints_are_cached_for_the_train_phase_only(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    first(study, store, tmp_path)
    after = run(second(study), store, tmp_path, host=OTHER_HOST)
    hint = next(t for t in after if t.origin == TrialOrigin.TRANSFERRED)
    hit = ResultCache(study).update([hint]).find(hint.strategy, 0)
    assert hit.profile is None
    assert hit.train == hint


def test_speeds_of_another_kind_of_device_are_not_transferred(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    source_trials = first(study, store, tmp_path, 2)
    on_gpu = Strategy({**source_trials[1].strategy.values, "device": "cuda:0"})
    store.start("small", on_gpu, origin=TrialOrigin.SAMPLED, seed=0)
    store.finish("small", 2, evaluate_as(on_gpu))
    after = run(second(study), store, tmp_path, host=OTHER_HOST)
    (hint,) = [t for t in after if t.strategy == on_gpu]
    assert hint.metrics.keys() == {"accuracy", "peak_memory_gib"}


def evaluate_as(strategy: Strategy) -> Completed:
    metrics = {**measure(strategy), "reference_seconds": 0.01, "peak_memory_gib": 2.0}
    return Completed(TrialResult({n: Measurement(n, v, "x") for n, v in metrics.items()}))


def test_money_is_counted_at_this_studys_prices(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    first(study, store, tmp_path)
    after = run(second(study, prices=Prices(cpu_core=0.5)), store, tmp_path)
    imports = [t for t in after if t.origin == TrialOrigin.IMPORTED and t.state is State.COMPLETE]
    threads = int(imports[0].strategy["threads"])
    assert imports[0].metric("cost_usd") == pytest.approx(0.5 * threads * 36 / 3600)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_every_sampler_goes_on_from_hints(
    study: Study, store: SqlStore, tmp_path: Path, kind: str
) -> None:
    space = SearchSpace(study.space.dimensions[:4], study.space.defaults, study.space.rules)
    study = replace(study, space=space, sampler=SamplerConfig(kind, 3))
    hinted = [t.strategy for t in first(study, store, tmp_path, 10)]
    after = run(second(study, 40), store, tmp_path, host=OTHER_HOST)
    own = [t.strategy for t in after if not t.is_imported and not t.has_another_seed]
    assert len(own) == len(set(own))
    assert set(own) & set(hinted[1:]), "a hint does not keep a strategy from being tried here"


def test_imports_use_no_budget(study: Study, store: SqlStore, tmp_path: Path) -> None:
    first(study, store, tmp_path)
    after = run(second(study), store, tmp_path)
    used, own = BudgetUsage(after, None), [t for t in after if not t.is_imported]
    assert used.trials == len(own) == 4
    assert used.seconds == pytest.approx(sum(t.seconds or 0.0 for t in own), abs=0.1)
    assert used.usd == pytest.approx(BudgetUsage(own, None).usd)


def test_a_source_with_another_task_is_refused(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    first(study, store, tmp_path, 2)
    other = second(study, task=replace(study.task, max_length=32))
    with pytest.raises(IncompatibleStudyError, match=r"task\.max_length is 32 here, 128 there"):
        run(other, store, tmp_path)
    assert "second" not in store.studies()


def test_a_missing_source_is_reported(study: Study, store: SqlStore, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="small"):
        run(second(study), store, tmp_path)


def test_predictions_and_confirmations_are_not_imported(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    source_trials = first(study, store, tmp_path, 2)
    other = source_trials[1].strategy.with_values(threads=1, batch_size=8)
    store.start("small", other, origin=TrialOrigin.SAMPLED, seed=0)
    store.finish("small", 2, Infeasible(FailureReason.PREDICTED, "would need 9 GiB"))
    store.start("small", source_trials[1].strategy, origin=TrialOrigin.CONFIRMATION, seed=1)
    store.finish("small", 3, evaluate_as(source_trials[1].strategy))
    after = run(second(study), store, tmp_path)
    assert [t.strategy for t in after if t.is_imported] == [source_trials[1].strategy]
