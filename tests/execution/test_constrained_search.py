"""The figures of ``benchmarks/constrained_search.py``, without a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autotune import spec
from autotune.domain import Completed, Measurement, Strategy, TrialOrigin, TrialResult
from autotune.store import open_store
from tests.execution.synthetic_benchmark import HOST

pytestmark = pytest.mark.usefixtures("benchmark_scripts")


@pytest.fixture
def setting(tmp_path: Path) -> Any:
    from constrained_search import BY_HAND, Setting, write_made_up_texts

    write_made_up_texts(tmp_path / "texts")
    return Setting("builtin:bert-tiny", tmp_path / "texts", "cpu", 15, 3, 96, tmp_path, BY_HAND)


def test_study_files_are_valid_and_contain_the_strategies_by_hand(setting: Any) -> None:
    from constrained_search import BY_HAND, HAND, SEARCH

    path = setting.study_file("a", end=SEARCH.format(minutes=15, seed=2))
    study = spec.load(path, host=HOST).study
    assert (study.budget.minutes, study.sampler.seed) == (15, 2)
    assert [str(c) for c in study.constraints] == ["accuracy >= baseline - 0.01"]
    end = HAND.format(trials=8, strategies=[dict(strategy) for strategy in BY_HAND])
    path = setting.study_file("b", precision="[fp32, bf16, bf16-pure]", end=end)
    queued = spec.load(path, host=HOST).study.start_with
    assert len(set(queued)) == len(BY_HAND) == 7


def test_runs_alternate_and_are_not_repeated(setting: Any) -> None:
    from constrained_search import pending_runs

    study = spec.load(setting.study_file("final", end="budget: {trials: 1}\n"), host=HOST).study
    default = study.baseline
    other = default.with_values(batch_size=32)
    strategies = {"default": default, "by hand": other, "search 0": other}
    store = open_store(setting.storage)
    store.create_study(study, {})
    runs = list(pending_runs(store, study, strategies, (1, 2)))
    assert runs == [(default, 1), (other, 1), (other, 2), (default, 2)]
    trial = store.start(study.name, other, origin=TrialOrigin.CONFIRMATION, seed=1)
    store.finish(study.name, trial.number, Completed(result_of(other, 200.0, 0.9)))
    assert list(pending_runs(store, study, strategies, (1, 2))) == [runs[0], *runs[2:]]
    store.close()


def test_summary_compares_with_the_default_by_seed(setting: Any) -> None:
    from constrained_search import summarize, table

    study = spec.load(setting.study_file("final", end="budget: {trials: 1}\n"), host=HOST).study
    default = study.baseline
    other = default.with_values(batch_size=32)
    store = open_store(setting.storage)
    store.create_study(study, {})
    for seed, machine_speed in ((1, 1.0), (2, 0.5)):
        for strategy, speed in ((default, 100.0), (other, 400.0)):
            trial = store.start(study.name, strategy, origin=TrialOrigin.CONFIRMATION, seed=seed)
            result = result_of(strategy, speed * machine_speed * (1 + 0.01 * seed), 0.9)
            store.finish(study.name, trial.number, Completed(result))
    trials = store.trials(study.name)
    store.close()
    result = summarize(setting, {"default": default, "search 0": other}, trials)
    assert result["strategies"]["search 0"]["speed_ratio"] == pytest.approx(4.0)
    assert result["mean_speed_ratio_of_searches"] == pytest.approx(4.0)
    assert result["strategies"]["search 0"]["levers"] == {"batch_size": 32}
    assert any("4.00x" in line and "batch_size=32" in line for line in table(result))


def result_of(strategy: Strategy, speed: float, accuracy: float) -> TrialResult:
    values = {"train_samples_per_second": (speed, "samples/s"), "accuracy": (accuracy, "")}
    return TrialResult({n: Measurement(n, v, unit, 48) for n, (v, unit) in values.items()})
