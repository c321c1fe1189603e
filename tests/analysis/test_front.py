"""The front: constraints, dominance, the knee."""

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

MIN_ACCURACY = Constraint(ACCURACY, ">=", -0.05, relative=True)


@st.composite
def point_sets(draw: st.DrawFn) -> np.ndarray:
    width = draw(st.integers(1, 4))
    row = st.lists(st.integers(0, 6), min_size=width, max_size=width)
    rows = draw(st.lists(row, min_size=1, max_size=40))
    return np.array(rows, dtype=float)


def test_ties_in_one_objective_do_not_hide_dominance() -> None:
    rows = np.random.default_rng(0).integers(0, 3, (300, 3)).astype(float)
    kept = rows[non_dominated(rows)]
    assert (kept == kept.max(axis=0)).all()


@given(point_sets())
def test_non_dominated_agrees_with_the_definition(points: np.ndarray) -> None:
    expected = [
        not any((other >= point).all() and (other > point).any() for other in points)
        for point in points
    ]
    assert non_dominated(points).tolist() == expected


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=25))
def test_front_of_trials_agrees_with_pairwise_dominance(rows: list[tuple[int, int]]) -> None:
    tiny, members = study(SPEED, COST), trials(*rows, metrics=(SPEED, COST))
    front = pareto_front(tiny, members)
    points = [(t.metrics[SPEED], -t.metrics[COST]) for t in members]
    expected = {
        t.number
        for t, point in zip(members, points, strict=True)
        if not any(other != point and other[0] >= point[0] and other[1] >= point[1]
                   for other in points)
    }  # fmt: skip
    assert {t.number for t in front} == expected
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
    faster = trial(1, {SPEED: 99.0, ACCURACY: 0.9}, state=state)
    assert feasible_trials(study(), [*trials((10, 0.8)), faster]) == trials((10, 0.8))


def test_trial_without_an_objective_is_not_compared() -> None:
    unmeasured = trial(1, {SPEED: 99.0})
    diverged = trial(2, {SPEED: 99.0, ACCURACY: math.nan})
    assert [
        t.number for t in pareto_front(study(), [*trials((10, 0.8)), unmeasured, diverged])
    ] == [0]


def test_constraint_relative_to_the_default() -> None:
    constrained = study(constraints=[MIN_ACCURACY])
    members = trials((10, 0.8), (20, 0.75), (30, 0.74))
    assert [t.number for t in feasible_trials(constrained, members)] == [0, 1]
    (violation,) = find_violations(constrained, members[2], members[0])
    assert str(violation) == (
        "accuracy is 0.74; the study requires accuracy >= baseline - 0.05 (= 0.75)"
    )


def test_relative_constraint_is_ignored_before_the_default_is_measured() -> None:
    running = trial(0, state=State.RUNNING)
    complete = trial(1, {SPEED: 5.0, ACCURACY: 0.1})
    assert feasible_trials(study(constraints=[MIN_ACCURACY]), [running, complete]) == [complete]


def test_unmeasured_metric_violates_a_constraint() -> None:
    constrained = study(constraints=[Constraint("energy_wh", "<=", 5.0)])
    (violation,) = find_violations(constrained, trial(0, {SPEED: 1.0, ACCURACY: 0.5}), None)
    assert "energy_wh was not measured" in str(violation)


@pytest.mark.parametrize(
    ("operator", "satisfied"), [(">=", True), ("<=", True), (">", False), ("<", False)]
)
def test_operators_at_the_bound(operator: str, satisfied: bool) -> None:
    constrained = study(constraints=[Constraint(ACCURACY, operator, 0.8)])  # type: ignore[arg-type]
    assert (not find_violations(constrained, trials((1, 0.8))[0], None)) is satisfied


def test_baseline_is_the_completed_run_of_the_default() -> None:
    interrupted = trial(0, state=State.INTERRUPTED)
    retry = replace(trial(0, {SPEED: 1.0}), number=3, origin=TrialOrigin.RETRY)
    assert find_baseline(study(), [interrupted, trial(1, {SPEED: 2.0}), retry]) == retry
    assert find_baseline(study(), [interrupted]) == interrupted


def test_confirmation_runs_mark_their_strategy_and_are_not_on_the_front() -> None:
    run = trial(2, {SPEED: 99.0, ACCURACY: 0.99}, origin=TrialOrigin.CONFIRMATION)
    members = [*trials((10, 0.8), (20, 0.7)), run]
    assert confirmed_trials(members) == {1}
    assert [t.number for t in pareto_front(study(), members)] == [1, 0]


def test_knee_is_nearest_to_the_utopia_point() -> None:
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
    point = knee(study(), pareto_front(study(), trials(*scaled)))
    assert point is not None and point.number == 1


def test_weights_change_the_suggestion() -> None:
    front = pareto_front(study(), trials((10, 0.9), (20, 0.8), (30, 0.6)))
    numbers = [
        suggest_trial(study(), front, {SPEED: speed, ACCURACY: 1 - speed}).number  # type: ignore[union-attr]
        for speed in (0.0, 1.0)
    ]
    assert numbers == [0, 2]
    assert suggest_trial(study(), [], {}) is None
