"""The front: constraints, domination, the knee."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_studies import ACCURACY, COST, SPEED, study, trial, trials

from autotune.analysis.front import (
    confirmed_trials,
    feasible_trials,
    find_baseline,
    find_violations,
    knee,
    non_dominated,
    pareto_front,
    suggest_trial,
)
from autotune.domain import Constraint, State, TrialOrigin

FLOOR = Constraint(ACCURACY, ">=", -0.05, relative=True)


@st.composite
def point_sets(draw: st.DrawFn) -> np.ndarray:
    width = draw(st.integers(1, 4))
    row = st.lists(st.integers(0, 6), min_size=width, max_size=width)
    rows = draw(st.lists(row, min_size=1, max_size=40))
    return np.array(rows, dtype=float)


def test_ties_in_one_gain_do_not_hide_who_dominates() -> None:
    rows = np.random.default_rng(0).integers(0, 3, (300, 3)).astype(float)
    kept = rows[non_dominated(rows)]
    assert (kept == kept.max(axis=0)).all()


@given(point_sets())
def test_non_dominated_agrees_with_the_definition(points: np.ndarray) -> None:
    slow = [
        not any((other >= point).all() and (other > point).any() for other in points)
        for point in points
    ]
    assert non_dominated(points).tolist() == slow


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=25))
def test_front_of_trials_agrees_with_pairwise_domination(rows: list[tuple[int, int]]) -> None:
    asked, found = study(SPEED, COST), trials(*rows, metrics=(SPEED, COST))
    front = pareto_front(asked, found)
    points = [(t.metrics[SPEED], -t.metrics[COST]) for t in found]
    slow = {
        t.number
        for t, point in zip(found, points, strict=True)
        if not any(other != point and other[0] >= point[0] and other[1] >= point[1]
                   for other in points)
    }  # fmt: skip
    assert {t.number for t in front} == slow
    speeds = [t.metrics[SPEED] for t in front]
    assert speeds == sorted(speeds, reverse=True)


def test_front_minimises_what_is_minimised() -> None:
    front = pareto_front(study(SPEED, COST), trials((10, 5), (10, 4), metrics=(SPEED, COST)))
    assert [t.number for t in front] == [1]


def test_empty_study_has_no_front() -> None:
    assert pareto_front(study(), []) == []
    assert knee(study(), []) is None
    assert find_baseline(study(), []) is None


@pytest.mark.parametrize("state", [s for s in State if s is not State.COMPLETE])
def test_only_complete_trials_are_feasible(state: State) -> None:
    beaten = trial(1, {SPEED: 99.0, ACCURACY: 0.9}, state=state)
    assert feasible_trials(study(), [*trials((10, 0.8)), beaten]) == trials((10, 0.8))


def test_trial_without_an_objective_is_not_compared() -> None:
    lacking = trial(1, {SPEED: 99.0})
    diverged = trial(2, {SPEED: 99.0, ACCURACY: math.nan})
    assert [t.number for t in pareto_front(study(), [*trials((10, 0.8)), lacking, diverged])] == [0]


def test_constraint_relative_to_the_default() -> None:
    asked = study(constraints=[FLOOR])
    found = trials((10, 0.8), (20, 0.75), (30, 0.74))
    assert [t.number for t in feasible_trials(asked, found)] == [0, 1]
    (broken,) = find_violations(asked, found[2], found[0])
    assert str(broken) == (
        "accuracy is 0.74; the study requires accuracy >= baseline - 0.05 (= 0.75)"
    )


def test_relative_constraint_binds_nobody_before_the_default_is_measured() -> None:
    running = trial(0, state=State.RUNNING)
    done = trial(1, {SPEED: 5.0, ACCURACY: 0.1})
    assert feasible_trials(study(constraints=[FLOOR]), [running, done]) == [done]


def test_unmeasured_metric_cannot_meet_a_constraint() -> None:
    asked = study(constraints=[Constraint("energy_wh", "<=", 5.0)])
    (broken,) = find_violations(asked, trial(0, {SPEED: 1.0, ACCURACY: 0.5}), None)
    assert "energy_wh was not measured" in str(broken)


@pytest.mark.parametrize(
    ("operator", "met"), [(">=", True), ("<=", True), (">", False), ("<", False)]
)
def test_operators_at_the_bound(operator: str, met: bool) -> None:
    asked = study(constraints=[Constraint(ACCURACY, operator, 0.8)])  # type: ignore[arg-type]
    assert (not find_violations(asked, trials((1, 0.8))[0], None)) is met


def test_baseline_is_the_completed_run_of_the_default() -> None:
    broken = trial(0, state=State.INTERRUPTED)
    again = replace(trial(0, {SPEED: 1.0}), number=3, origin=TrialOrigin.RETRY)
    assert find_baseline(study(), [broken, trial(1, {SPEED: 2.0}), again]) == again
    assert find_baseline(study(), [broken]) == broken


def test_confirming_runs_mark_their_strategy_and_stay_off_the_front() -> None:
    again = trial(2, {SPEED: 99.0, ACCURACY: 0.99}, origin=TrialOrigin.CONFIRMATION)
    found = [*trials((10, 0.8), (20, 0.7)), again]
    assert confirmed_trials(found) == {1}
    assert [t.number for t in pareto_front(study(), found)] == [1, 0]


def test_knee_is_nearest_to_the_best_of_everything() -> None:
    front = pareto_front(study(), trials((10, 0.90), (28, 0.89), (30, 0.70)))
    assert knee(study(), front).number == 1  # type: ignore[union-attr]


def test_knee_of_one_objective_is_the_best_and_ties_go_to_the_lowest_number() -> None:
    front = pareto_front(study(SPEED), trials((10,), (30,), (30,), metrics=(SPEED,)))
    assert knee(study(SPEED), front).number == 1  # type: ignore[union-attr]
    both = pareto_front(study(), trials((10, 0.9), (20, 0.8)))
    assert knee(study(), both).number == 0  # type: ignore[union-attr]


@given(st.floats(0.01, 1e6), st.floats(0.01, 1e6))
def test_knee_does_not_depend_on_units(first: float, second: float) -> None:
    rows = [(10.0, 9.0), (22.0, 8.5), (29.0, 5.0), (30.0, 1.0)]
    scaled = [(a * first, b * second) for a, b in rows]
    picked = knee(study(), pareto_front(study(), trials(*scaled)))
    assert picked is not None and picked.number == 1


def test_weights_move_the_suggestion() -> None:
    front = pareto_front(study(), trials((10, 0.9), (20, 0.8), (30, 0.6)))
    numbers = [
        suggest_trial(study(), front, {SPEED: speed, ACCURACY: 1 - speed}).number  # type: ignore[union-attr]
        for speed in (0.0, 1.0)
    ]
    assert numbers == [0, 2]
    assert suggest_trial(study(), [], {}) is None
