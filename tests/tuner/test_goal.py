"""A search for one answer: the best value of a metric under conditions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.cli.commands.search import _goal_overrides
from autotune.domain import (
    Budget,
    Confirmation,
    Constraint,
    Measurement,
    Objective,
    Study,
    Trial,
    Value,
)
from autotune.domain.search_space import grid
from autotune.errors import UsageError
from autotune.spec import load
from autotune.store import SqlStore
from autotune.tuner import patience
from autotune.tuner.patience import GOAL_PATIENCE, should_end_search
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner
from tests.spec.hosts import CPU
from tests.tuner import simulated_search as simulated
from tests.tuner.small_study import (
    HOST,
    InlineExecutor,
    RecordingObserver,
    finished_trial,
    formula,
)

SPEED = Objective("train_samples_per_second", "maximize")
REQUIRE = Constraint("accuracy", ">=", -0.02, relative=True)
GOAL = {"goal": {"maximize": SPEED.metric, "require": [str(REQUIRE)]}}


def with_goal(study: Study) -> Study:
    return replace(study, objectives=(SPEED,), constraints=(REQUIRE,), spec=GOAL)


def with_speed(trial: Trial, speed: float, half_width: float = 0.0) -> Trial:
    interval = (speed - half_width, speed + half_width) if half_width else None
    measurement = Measurement(SPEED.metric, speed, "x", n=5, ci95=interval)
    measurements = {**trial.result.measurements, SPEED.metric: measurement}
    faster = replace(trial, result=replace(trial.result, measurements=measurements))
    return with_accuracy(faster, trial.metric("accuracy") or 0.0)


def with_accuracy(trial: Trial, score: float) -> Trial:
    accuracy = Measurement("accuracy", score, "ratio", 5000, (score - 0.005, score + 0.005))
    measurements = {**trial.result.measurements, "accuracy": accuracy}
    return replace(trial, result=replace(trial.result, measurements=measurements))


def history(study: Study, speeds: list[float], half_width: float = 0.0) -> list[Trial]:
    """The default and trials that are as accurate. Equal speeds are those of equal settings."""
    batch_sizes = {speed: (8, 16, 32)[n % 3] for n, speed in enumerate(sorted(set(speeds[1:])))}
    trials = [finished_trial(0, study.baseline)]
    for number, speed in enumerate(speeds[1:], 1):
        rate, batch_size = 1e-4 + number / 1e6, batch_sizes[speed]
        settings: dict[str, Value] = {"threads": 2, "learning_rate": rate, "batch_size": batch_size}
        trials.append(finished_trial(number, study.baseline.with_values(**settings)))
    return [with_speed(t, v, half_width) for t, v in zip(trials, speeds, strict=True)]


@pytest.mark.parametrize(
    ("last", "half_width", "ends"),
    [
        (101.0, 0.0, True),  # within the least noise
        (105.0, 0.0, False),
        (105.0, 6.0, True),  # within the noise of two runs
        (130.0, 60.0, False),  # beyond the largest noise
    ],
)
def test_it_ends_when_it_gets_no_better_than_the_noise(
    study: Study, last: float, half_width: float, ends: bool
) -> None:
    study = with_goal(study)
    speeds = [50.0, 100.0, *[90.0] * (GOAL_PATIENCE - 1), last]
    reason = should_end_search(study, history(study, speeds, half_width))
    assert (reason is not None) is ends
    assert should_end_search(replace(study, spec={}), history(study, speeds)) is None


def test_it_goes_on_while_no_answer_can_be_recommended(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = with_goal(study)
    trials = history(study, [50.0, 100.0, *[90.0] * GOAL_PATIENCE])
    assert should_end_search(study, trials) is not None
    monkeypatch.setattr(patience, "recommended_trial", lambda recommender: None)
    assert should_end_search(study, trials) is None


def test_it_goes_on_while_the_default_is_best(study: Study) -> None:
    study = with_goal(study)
    speeds = [50.0, *[40.0] * (2 * GOAL_PATIENCE)]
    assert should_end_search(study, history(study, speeds)) is None


def test_it_goes_on_while_few_trials_have_ended(study: Study) -> None:
    study = with_goal(study)
    assert should_end_search(study, history(study, [50.0, *[40.0] * (GOAL_PATIENCE - 2)])) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_the_sampler_finds_the_best_feasible_strategy(seed: int) -> None:
    study = simulated.study(objectives=[SPEED], constraints=[REQUIRE], seed=seed)
    bound = simulated.simulate_metrics(study.baseline)["accuracy"] - 0.02
    values = [simulated.simulate_metrics(strategy) for strategy in grid(study.space)]
    best = max(v[SPEED.metric] for v in values if v["accuracy"] >= bound)
    trials = simulated.SimulatedSearch(study).run(24)
    feasible = [t for t in trials if (t.metric("accuracy") or 0.0) >= bound]
    assert max(t.metric(SPEED.metric) or 0.0 for t in feasible) >= 0.95 * best


def test_one_answer_is_confirmed(study: Study, store: SqlStore, tmp_path: Path) -> None:
    study = replace(with_goal(study), confirm=Confirmation(1, 3), budget=Budget(trials=40))
    store.create_study(study, {})
    tuner = make_tuner(
        study, store, make_sampler(study), InlineExecutor(), HOST,
        directory=tmp_path, observer=RecordingObserver(),
    )  # fmt: skip
    reason = tuner.run(formula)
    trials = store.trials(study.name)
    confirmations = [trial for trial in trials if trial.is_confirmation]
    assert "no gain beyond the noise" in reason and len(trials) < 40
    strategies = {trial.strategy.key for trial in confirmations}
    assert study.baseline.key in strategies and len(strategies) == 2
    assert {trial.seed for trial in confirmations} == {1, 2, 3}


def test_options_are_the_section_goal() -> None:
    text = "study: s\nobjectives: [loss]\nspace: {batch_size: [8, 16]}\n"
    conditions = ["accuracy >= baseline - 0.01", "peak_memory_gib <= 8"]
    overrides = _goal_overrides(conditions, SPEED.metric, None)
    study = load(text, host=CPU, overrides=overrides).study
    assert study.objectives == (SPEED,)
    assert [str(constraint) for constraint in study.constraints] == conditions
    least = load(text, host=CPU, overrides=_goal_overrides([], None, "train_seconds")).study
    assert least.objectives == (Objective("train_seconds", "minimize"),)
    assert _goal_overrides([], None, None) == []


def test_a_condition_needs_a_metric() -> None:
    with pytest.raises(UsageError, match="not what is best"):
        _goal_overrides(["accuracy >= 0.8"], None, None)
