"""The scores and the peers of landscapes with a constraint, and how their records are composed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autotune import spec
from autotune.domain import Measurement
from autotune.execution.replay.benchmark import Record, TabularBenchmark
from autotune.levers import training_key
from tests.execution.synthetic_benchmark import SPEC, synthetic_benchmark

pytestmark = pytest.mark.usefixtures("benchmark_scripts")


@pytest.fixture(scope="module")
def landscape() -> TabularBenchmark:
    """Pruned strategies are the fastest and violate the constraint, and so does the default."""
    return replace(
        synthetic_benchmark(), spec=SPEC + "constraints: [accuracy >= baseline + 0.02]\n"
    )


@pytest.fixture(scope="module")
def scorer(landscape: TabularBenchmark) -> Any:
    from replay import Scorer

    return Scorer(landscape)


def test_best_speed_is_that_of_a_feasible_strategy(
    landscape: TabularBenchmark, scorer: Any
) -> None:
    from replay import TraceStep

    assert scorer.is_constrained
    assert scorer.best_speed == pytest.approx(200), "twice as fast if pruned"
    steps = [TraceStep(float(n), record.strategy) for n, record in enumerate(landscape.records)]
    shares = [share for _, share in scorer.speed_shares(steps)]
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert pytest.approx(0.8) in shares, "without sdpa"
    fastest = max(landscape.records, key=lambda r: r.measurements["train_samples_per_second"].value)
    assert scorer.speed_shares([TraceStep(1.0, fastest.strategy)]) == [(1.0, 0.0)]


def test_search_ends_at_the_best_speed_or_when_it_has_cost_too_much(
    landscape: TabularBenchmark, scorer: Any
) -> None:
    from replay import MAX_COST_SHARE

    has_ended = scorer.ending(0.95)
    limit = MAX_COST_SHARE * scorer.exhaustive_seconds
    assert not has_ended(landscape.records[0].strategy, limit - 1)
    assert has_ended(landscape.records[0].strategy, limit)
    assert any(has_ended(record.strategy, 0.0) for record in landscape.records)


def test_accuracy_is_the_median_over_seeds(landscape: TabularBenchmark) -> None:
    from replay import Scorer

    record = landscape.records[1]
    accuracy = record.measurements["accuracy"]
    better = {**record.measurements, "accuracy": replace(accuracy, value=accuracy.value + 0.02)}
    replicate = replace(record, seed=1, measurements=better)
    scorer = Scorer(replace(landscape, records=(*landscape.records, replicate)))
    # The sdpa twin of the strategy trains the same model.
    assert scorer.trials[record.strategy.key].metric("accuracy") == pytest.approx(accuracy.value)
    twins = [
        r for r in landscape.records if training_key(r.strategy) == training_key(record.strategy)
    ]
    replicates = [replace(r, seed=1, measurements=better) for r in twins]
    scorer = Scorer(replace(landscape, records=(*landscape.records, *replicates)))
    expected = pytest.approx(accuracy.value + 0.01)
    assert scorer.trials[record.strategy.key].metric("accuracy") == expected


@pytest.mark.parametrize(("name", "proposals"), [("Optuna TPE", 14), ("BoTorch qLogNEHVI", 10)])
def test_peers_know_the_constraint(scorer: Any, name: str, proposals: int) -> None:
    """Each proposes a few strategies with its model, after random ones."""
    from peers import PEERS, Space, run_peer

    if name.startswith("BoTorch"):
        pytest.importorskip("botorch")
    space = Space.from_scorer(scorer)
    [violation] = space.violations({"accuracy": 0.80})
    assert violation == pytest.approx(0.842 + 0.02 - 0.80)
    trace = run_peer(scorer, PEERS[name](space, 0), 0.95, max_proposals=proposals)
    assert scorer.speed_shares(trace.steps)[-1][1] > 0.9


def test_records_of_a_grid_are_composed_of_one_trial_for_each_model(
    landscape: TabularBenchmark,
) -> None:
    from landscapes.composition import compose, sample, scale_times

    study = spec.load(landscape.spec, host=landscape.host).study
    strategies = list(sample(study))
    assert len(strategies) == 1 + 12, "half of the strategies, since attention shares the model"
    assert len({s["attention"] for s in strategies}) == 2
    records = [with_reference(r) for s in strategies if (r := landscape.find(s, 0)) is not None]
    records[3] = scale_times(records[3], 2.0)  # the machine was slow
    composed = compose(study, replace(landscape, records=tuple(records)))
    assert len(composed.records) == len(landscape.records)
    for record in composed.records:
        original = landscape.find(record.strategy, record.seed)
        assert original is not None
        for name in ("train_samples_per_second", "accuracy", "peak_memory_gib"):
            expected = pytest.approx(original.measurements[name].value)
            assert record.measurements[name].value == expected
        speed = speed_of(original)
        assert record.measurements["train_seconds"].value == pytest.approx(0.1 + 1280 / speed)
        key = training_key(record.strategy)
        source = landscape.find(next(s for s in strategies if training_key(s) == key), 0)
        assert source is not None
        ratio = speed_of(source) / speed
        assert record.curve[-1].seconds == pytest.approx(source.curve[-1].seconds * ratio)
        assert record.phases["5 train"] == pytest.approx(source.phases["5 train"] * ratio)


def with_reference(record: Record) -> Record:
    reference = Measurement("reference_seconds", 0.05, "s")
    speed = record.measurements["train_samples_per_second"]
    changed = {"reference_seconds": reference, speed.name: replace(speed, unit="samples/s")}
    setup = replace(record.measurements["setup_seconds"], unit="s")
    return replace(record, measurements={**record.measurements, **changed, setup.name: setup})


def speed_of(record: Record) -> float:
    return record.measurements["train_samples_per_second"].value


def test_incomplete_recording_is_complete_for_the_lowest_values(
    landscape: TabularBenchmark,
) -> None:
    from landscapes.composition import sample

    study = spec.load(landscape.spec, host=landscape.host).study
    rates = [s["learning_rate"] for s in list(sample(study, ["learning_rate"]))[1:]]
    assert rates == sorted(rates)
    assert rates[0] < rates[-1]
