"""The benchmarks of the search, over a small landscape made up: what they count, and what not."""

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

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def benchmarks() -> Any:
    """Benchmarks are scripts, which import what lies beside them."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def benchmark() -> TabularBenchmark:
    return synthetic_benchmark()


@pytest.fixture(scope="module")
def judge(benchmark: TabularBenchmark) -> Any:
    from replaying import Judge

    return Judge(benchmark)


def test_trying_everything_reaches_the_whole_hypervolume(
    benchmark: TabularBenchmark, judge: Any
) -> None:
    from replaying import Step

    steps = [Step(float(n), record.strategy) for n, record in enumerate(benchmark.records)]
    reached = judge.reached(steps)
    assert reached[-1] == (24.0, pytest.approx(1.0))
    assert [share for _, share in reached] == sorted(share for _, share in reached)
    assert judge.exhaustive_seconds == pytest.approx(13 * 9.75 + 12 * 5.75)
    first = next(seconds for seconds, share in reached if share >= 0.9)
    assert judge.seconds_to(0.9, steps) == first
    assert judge.seconds_to(1.1, steps) is None


def test_strategy_has_the_median_of_its_measurements(benchmark: TabularBenchmark) -> None:
    from replaying import Judge

    lucky = benchmark.records[1]
    faster = {n: replace(m, value=m.value * (3 if n == "train_samples_per_second" else 1))
              for n, m in lucky.measurements.items()}  # fmt: skip
    records = (benchmark.records[0], replace(lucky, measurements=faster), *benchmark.records[2:])
    noisy = replace(benchmark, records=records)
    key, metric = lucky.strategy.key, "train_samples_per_second"
    assert Judge(noisy, as_recorded=True).trials[key].metric(metric) == pytest.approx(
        3 * lucky.measurements[metric].value
    )
    twin = benchmark.records[2].measurements[metric].value
    assert Judge(noisy).trials[key].metric(metric) < 3 * twin


class Stubborn:
    """A peer that proposes one strategy for ever, and stops it at ``rung`` where one is given."""

    def __init__(self, rung: int | None = None) -> None:
        self._rung, self.told = rung, 0

    def ask(self) -> tuple[None, Mapping[str, Any]]:
        return None, {"batch_size": 8, "attention": "eager", "pruning_ratio": 0.0,
                      "learning_rate": 1e-4}  # fmt: skip

    def tell(self, handle: None, values: Mapping[str, float]) -> None:
        self.told += 1

    def rung(self, handle: None, index: int, values: Mapping[str, float]) -> bool:
        return index == self._rung


def test_a_peer_pays_once_for_a_strategy(judge: Any) -> None:
    from peers import walk

    peer = Stubborn()
    done = walk(judge, peer, 0.99, proposals=5)
    assert done.seconds == pytest.approx(2 * 9.75), "the default, and its one strategy"
    assert (peer.told, len(done.steps)) == (5, 2)


def test_a_peer_that_stops_a_trial_pays_until_then(benchmark: TabularBenchmark, judge: Any) -> None:
    from peers import rungs, walk

    done = walk(judge, Stubborn(rung=0), 0.99, proposals=5)
    until = next(iter(rungs(benchmark.records[1])))[0]
    assert done.seconds == pytest.approx(9.75 + until)
    assert len(done.steps) == 1, "what was stopped is not known"
    assert len(done.stopped) == 5


def test_rungs_are_where_scores_were_told(benchmark: TabularBenchmark) -> None:
    from peers import rungs

    found = [values["accuracy"] for _, values in rungs(benchmark.records[0])]
    scores = [p.metrics["accuracy"] for p in benchmark.records[0].curve if p.metrics]
    assert found == scores


@pytest.mark.parametrize("name", ["random", "Optuna TPE", "Optuna NSGA-II"])
def test_peers_find_their_way(judge: Any, name: str) -> None:
    from peers import PEERS, Space, walk

    space = Space.of(judge)
    assert space.is_ordered("batch_size")
    assert not space.is_ordered("attention")
    done = walk(judge, PEERS[name](space, 0), 0.9, proposals=300)
    assert judge.seconds_to(0.9, done.steps) == done.seconds
    assert done.seconds <= judge.exhaustive_seconds


def test_ours_shares_what_it_knows(judge: Any) -> None:
    from replaying import ours

    plain, shared = (
        ours(judge, "random", 1, sharing=sharing, stopping="none", enough=2.0,
             budget=Budget(trials=20))
        for sharing in (False, True)
    )  # fmt: skip
    assert len(plain.steps) == 20
    alike = shared.steps[:20]
    assert [step.strategy for step in plain.steps] == [step.strategy for step in alike]
    assert alike[-1].seconds < 0.8 * plain.seconds


def test_a_comparison_is_kept_and_printed(
    benchmark: TabularBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import compare_searchers

    path = tmp_path / "hills.parquet"
    write(benchmark, path)
    arguments = ["compare", str(path), "--seeds", "2", "--cache", str(tmp_path / "walks"),
                 "--searchers", "autotune, sampler random", "random",
                 "--plot", str(tmp_path / "plot.svg")]  # fmt: skip
    monkeypatch.setattr(sys, "argv", arguments)
    compare_searchers.main()
    printed = capsys.readouterr().out
    assert "24 strategies" in printed or "25 strategies" in printed
    assert len(list((tmp_path / "walks").glob("*.json"))) == 4
    assert "<polyline" in (tmp_path / "plot.svg").read_text()
    monkeypatch.setattr(compare_searchers, "take", pytest.fail)
    monkeypatch.setattr(sys, "argv", [*arguments, "--json"])
    monkeypatch.setattr(compare_searchers, "run", lambda *_: None)
    compare_searchers.main()
    document = json.loads(capsys.readouterr().out)
    assert set(document["searchers"]) == {"autotune, sampler random", "random"}


def test_stopping_is_counted_on_the_same_strategies(judge: Any) -> None:
    from stopping import compared, summary

    row = compared(judge, "asha", 20, 0)
    assert row["stopped"] > 0
    assert 0 < row["training_saved"] < 1
    assert row["stopped_of_front"] <= row["front"]
    assert summary([row])["regret"] == row["stopped_of_front"] / row["stopped"]


def test_shared_pairs_agree_where_nothing_disturbs_them(benchmark: TabularBenchmark) -> None:
    from sharing_validation import report

    again = [replace(r, seed=1) for r in benchmark.records[1:5]]
    found = report(replace(benchmark, records=(*benchmark.records, *again)))
    assert found["accuracy"]["shared"]["pairs"] > 10
    assert found["accuracy"]["shared"]["95%"] == pytest.approx(0.0)
    assert found["train_samples_per_second"]["seeds"] == {"pairs": 4, "median": 0.0, "95%": 0.0}


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
