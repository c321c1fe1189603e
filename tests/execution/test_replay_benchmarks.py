"""The benchmarks of searches, on a small synthetic `TabularBenchmark`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autotune.domain import Budget, Event, Measurement, State, Trial, TrialResult
from autotune.execution.replay.benchmark import TabularBenchmark, write
from autotune.execution.replay.events import replay_events
from tests.execution.synthetic_benchmark import synthetic_benchmark
from tests.execution.test_replay import job

pytestmark = pytest.mark.usefixtures("benchmark_scripts")


@pytest.fixture(scope="module")
def benchmark() -> TabularBenchmark:
    return synthetic_benchmark()


@pytest.fixture(scope="module")
def scorer(benchmark: TabularBenchmark) -> Any:
    from replay import Scorer

    return Scorer(benchmark)


def test_all_strategies_reach_the_complete_hypervolume(
    benchmark: TabularBenchmark, scorer: Any
) -> None:
    from replay import TraceStep

    steps = [TraceStep(float(n), record.strategy) for n, record in enumerate(benchmark.records)]
    shares = scorer.shares(steps)
    assert shares[-1] == (24.0, pytest.approx(1.0))
    assert [share for _, share in shares] == sorted(share for _, share in shares)
    assert scorer.exhaustive_seconds == pytest.approx(13 * 9.75 + 12 * 5.75)
    first = next(seconds for seconds, share in shares if share >= 0.9)
    assert scorer.seconds_to(0.9, steps) == first
    assert scorer.seconds_to(1.1, steps) is None


def test_strategy_has_the_median_of_its_measurements(benchmark: TabularBenchmark) -> None:
    from replay import Scorer

    lucky = benchmark.records[1]
    faster = {
        name: replace(m, value=m.value * (3 if name == "train_samples_per_second" else 1))
        for name, m in lucky.measurements.items()
    }
    records = (benchmark.records[0], replace(lucky, measurements=faster), *benchmark.records[2:])
    noisy = replace(benchmark, records=records)
    key, metric = lucky.strategy.key, "train_samples_per_second"
    assert Scorer(noisy, as_recorded=True).trials[key].metric(metric) == pytest.approx(
        3 * lucky.measurements[metric].value
    )
    twin = benchmark.records[2].measurements[metric].value
    assert Scorer(noisy).trials[key].metric(metric) < 3 * twin


class ConstantPeer:
    """A peer that always proposes the same strategy, and stops it at ``rung`` if given."""

    def __init__(self, rung: int | None = None) -> None:
        self._rung, self.tells = rung, 0

    def ask(self) -> tuple[None, Mapping[str, Any]]:
        return None, {
            "batch_size": 8,
            "attention": "eager",
            "pruning_ratio": 0.0,
            "learning_rate": 1e-4,
        }

    def tell(self, handle: None, values: Mapping[str, float]) -> None:
        self.tells += 1

    def should_stop(self, handle: None, index: int, values: Mapping[str, float]) -> bool:
        return index == self._rung


def test_peer_pays_once_for_a_strategy(scorer: Any) -> None:
    from peers import run_peer

    peer = ConstantPeer()
    trace = run_peer(scorer, peer, 0.99, max_proposals=5)
    assert trace.seconds == pytest.approx(2 * 9.75), "the default, and its one strategy"
    assert (peer.tells, len(trace.steps)) == (5, 2)


def test_peer_pays_for_a_stopped_trial_until_then(benchmark: TabularBenchmark, scorer: Any) -> None:
    from peers import run_peer, rungs

    trace = run_peer(scorer, ConstantPeer(rung=0), 0.99, max_proposals=5)
    until = next(iter(rungs(benchmark.records[1])))[0]
    assert trace.seconds == pytest.approx(9.75 + until)
    assert len(trace.steps) == 1, "a stopped trial has no result"
    assert len(trace.stopped) == 5


def test_rungs_are_the_points_with_scores(benchmark: TabularBenchmark) -> None:
    from peers import rungs

    accuracies = [values["accuracy"] for _, values in rungs(benchmark.records[0])]
    expected = [p.metrics["accuracy"] for p in benchmark.records[0].curve if p.metrics]
    assert accuracies == expected


@pytest.mark.parametrize("name", ["random", "Optuna TPE", "Optuna NSGA-II"])
def test_peers_reach_the_target(scorer: Any, name: str) -> None:
    from peers import PEERS, Space, run_peer

    space = Space.from_scorer(scorer)
    assert space.is_ordered("batch_size")
    assert not space.is_ordered("attention")
    trace = run_peer(scorer, PEERS[name](space, 0), 0.9, max_proposals=300)
    assert scorer.seconds_to(0.9, trace.steps) == trace.seconds
    assert trace.seconds <= scorer.exhaustive_seconds


def test_sharing_saves_time(scorer: Any) -> None:
    from replay import run_autotune

    plain, shared = (
        run_autotune(
            scorer,
            "random",
            1,
            sharing=sharing,
            stopping="none",
            target=2.0,
            budget=Budget(trials=20),
        )
        for sharing in (False, True)
    )
    assert len(plain.steps) == 20
    same = shared.steps[:20]
    assert [step.strategy for step in plain.steps] == [step.strategy for step in same]
    assert same[-1].seconds < 0.8 * plain.seconds


def test_comparison_is_cached_and_printed(
    benchmark: TabularBenchmark,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import compare_searchers

    path = tmp_path / "hills.parquet"
    write(benchmark, path)
    arguments = ["compare", str(path), "--seeds", "2", "--cache", str(tmp_path / "traces"),
                 "--searchers", "autotune, sampler random", "random",
                 "--plot", str(tmp_path / "plot.svg")]  # fmt: skip
    monkeypatch.setattr(sys, "argv", arguments)
    compare_searchers.main()
    output = capsys.readouterr().out
    assert "24 strategies" in output or "25 strategies" in output
    assert len(list((tmp_path / "traces").glob("*.json"))) == 4
    assert "<polyline" in (tmp_path / "plot.svg").read_text()
    monkeypatch.setattr(compare_searchers, "run_autotune", pytest.fail)
    monkeypatch.setattr(compare_searchers, "run_peer", pytest.fail)
    monkeypatch.setattr(sys, "argv", [*arguments, "--json"])
    compare_searchers.main()
    document = json.loads(capsys.readouterr().out)
    assert set(document["searchers"]) == {"autotune, sampler random", "random"}


def test_stopping_is_compared_on_the_same_strategies(scorer: Any) -> None:
    from stopping import compare, summary

    row = compare(scorer, "asha", 20, 0)
    assert row["stopped"] > 0
    assert 0 < row["training_saved"] < 1
    assert row["stopped_of_front"] <= row["front"]
    assert summary([row])["regret"] == row["stopped_of_front"] / row["stopped"]


def test_shared_pairs_agree_without_noise(benchmark: TabularBenchmark) -> None:
    from sharing_validation import report

    replicates = [replace(r, seed=1) for r in benchmark.records[1:5]]
    differences = report(replace(benchmark, records=(*benchmark.records, *replicates)))
    assert differences["accuracy"]["shared"]["pairs"] > 10
    assert differences["accuracy"]["shared"]["95%"] == pytest.approx(0.0)
    speed = differences["train_samples_per_second"]
    assert speed["seeds"] == {"pairs": 4, "median": 0.0, "95%": 0.0}


def test_stored_trial_becomes_a_record(benchmark: TabularBenchmark) -> None:
    """Including a trial of a version that did not report its setup and its training samples."""
    from landscapes.record import to_record

    expected = benchmark.records[0]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    events = [Event(now, "phase", f"{name} took {s:.3f} s") for name, s in expected.phases.items()]
    newer = ("setup_seconds", "train_samples")
    measurements = {
        name: Measurement(name, m.value, m.unit, 3, samples=(1.0,))
        for name, m in expected.measurements.items()
        if name not in newer
    }
    result = TrialResult(
        measurements, expected.curve, events=(Event(now, "data", "took a while"), *events)
    )
    end = now + timedelta(seconds=9.75)
    trial = Trial(
        0, State.COMPLETE, expected.strategy, started_at=now, finished_at=end, result=result
    )
    record = to_record(trial)
    assert (record.seconds, record.phases) == (9.75, expected.phases)
    assert record.measurements["train_samples"].value == 1280
    assert record.measurements["setup_seconds"].value >= expected.phases["3 setup"]
    assert record.measurements["accuracy"].samples == ()
    assert list(replay_events(record, job(record.strategy)))[-1][0] == pytest.approx(9.75)
