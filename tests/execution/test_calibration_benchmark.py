"""``benchmarks/calibration.py``, on a simulated search and simulated repeated runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autotune.domain import (
    Constraint,
    Measurement,
    Objective,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.measure.correctness import pack_correctness
from autotune.store import open_store
from tests.tuner.small_study import small_study

SPEED, EXAMPLES, STRATEGIES = "train_samples_per_second", 1000, 40
RUN_DEVIATION, SEED_DEVIATION = 0.03, 0.01


@pytest.fixture(scope="module")
def calibration(benchmark_scripts: None) -> Any:
    """The script as a module."""
    import calibration

    return calibration


class Simulation:
    """Strategies with known speed and accuracy, and noisy runs of them."""

    def __init__(self) -> None:
        base = small_study()
        constraints = (Constraint("accuracy", ">=", -0.01, relative=True),)
        objectives = (Objective(SPEED, "maximize"), Objective("accuracy", "maximize"))
        self.study = replace(base, objectives=objectives, constraints=constraints)
        self.rng = np.random.default_rng(3)
        self.difficulty = {split: self.rng.random(EXAMPLES) for split in ("validation", "test")}
        rates = np.geomspace(2e-5, 5e-4, STRATEGIES)
        strategies = [
            base.baseline.with_values(learning_rate=float(rate), batch_size=16 + 16 * (n % 2))
            for n, rate in enumerate(rates)
        ]
        self.strategies = [base.baseline, *strategies]
        self.truth = {
            s.key: (100.0, 0.7) if s == base.baseline else (200.0, 0.7 - 0.04 * n / STRATEGIES)
            for n, s in enumerate(self.strategies)
        }

    def run(self, number: int, strategy: Strategy, seed: int, origin: TrialOrigin) -> Trial:
        speed, accuracy = self.truth[strategy.key]
        split = "test" if origin is TrialOrigin.CONFIRMATION else "validation"
        accuracy += float(self.rng.normal(0, SEED_DEVIATION))
        hits = self.difficulty[split] + self.rng.normal(0, 0.05, EXAMPLES) < accuracy
        share = float(hits.mean())
        half = 1.96 * float(np.sqrt(share * (1 - share) / EXAMPLES))
        speed *= float(np.exp(self.rng.normal(0, RUN_DEVIATION)))
        interval = (speed * (1 - 1.96 * RUN_DEVIATION), speed * (1 + 1.96 * RUN_DEVIATION))
        measurements = {
            "accuracy": Measurement(
                "accuracy", share, "ratio", EXAMPLES, (share - half, share + half)
            ),
            SPEED: Measurement(SPEED, speed, "samples/s", 9, interval),
        }
        result = TrialResult(measurements, correctness=pack_correctness(split, hits))
        return Trial(number, State.COMPLETE, strategy, seed, origin, result=result)

    def search(self) -> list[Trial]:
        origins = [TrialOrigin.DEFAULT, *[TrialOrigin.SAMPLED] * STRATEGIES]
        return [
            self.run(n, strategy, 0, origin)
            for n, (strategy, origin) in enumerate(zip(self.strategies, origins, strict=True))
        ]

    def repeat(self) -> list[Trial]:
        trials: list[Trial] = []
        for index, strategy in enumerate(self.strategies[1:]):
            seed = 1000 + index // 10
            for member in [self.study.baseline, strategy] if index % 10 == 0 else [strategy]:
                trials.append(self.run(len(trials), member, seed, TrialOrigin.CONFIRMATION))
        return trials


def test_what_is_claimed_of_a_simulated_search_holds(calibration: Any) -> None:
    simulation = Simulation()
    result = calibration.calibrate(simulation.study, simulation.search(), simulation.repeat())
    assert len(result.claims) == 3 * STRATEGIES
    assert result.share_of_intervals("accuracy") >= 0.9
    assert result.share_of_intervals(SPEED) >= 0.9
    assert result.promises and not all(p.is_contradicted for p in result.promises)
    text = calibration.format_calibration(result)
    assert "40 intervals hold" in text and "within 1 point of the default" in text


def test_wrong_claims_are_noticed(calibration: Any) -> None:
    """The search measured speeds 40% too high and accuracies 15 points too high."""
    simulation = Simulation()
    trials = simulation.search()
    simulation.truth = {
        key: (speed, accuracy) if key == simulation.study.baseline.key else (speed / 1.4, 0.55)
        for key, (speed, accuracy) in simulation.truth.items()
    }
    result = calibration.calibrate(simulation.study, trials, simulation.repeat())
    assert result.share_of_intervals(SPEED) < 0.2
    assert result.share_of_intervals("accuracy") < 0.2
    assert result.promises and all(promise.is_contradicted for promise in result.promises)


def test_runs_are_queued_once(calibration: Any, tmp_path: Path) -> None:
    study: Study = replace(small_study(), name="again")
    members = [study.baseline.with_values(learning_rate=1e-4 + n * 1e-6) for n in range(13)]
    store = open_store(f"sqlite:///{tmp_path}/calibration.db")
    for _ in range(2):
        num_runs = calibration.enqueue(store, study, members[:1], members[1:], 5)
        assert num_runs == 12 + 5 * 2, "the default and the recommended strategy in five groups"
    trials = store.trials("again")
    store.close()
    assert trials[0].strategy == study.baseline, "a group begins with the default"
    seeds = [trial.seed for trial in trials if trial.strategy == members[0]]
    assert seeds == [1000, 1001, 1002, 1003, 1004]
    assert {trial.origin for trial in trials} == {TrialOrigin.CONFIRMATION}


def test_recommended_strategies_are_chosen_first(calibration: Any) -> None:
    simulation = Simulation()
    trials = simulation.search()
    recommended, others = calibration.choose_strategies(simulation.study, trials, 10)
    assert 1 <= len(recommended) <= 4
    keys = {strategy.key for strategy in (*recommended, *others)}
    assert len(keys) == 10 and simulation.study.baseline.key not in keys
