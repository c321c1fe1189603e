"""Hypervolume: against Optuna's, against values by hand, and incrementally."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume
from small_studies import ACCURACY, COST, SPEED, study, trial, trials

from autotune.analysis.hypervolume import (
    MAX_HISTORY_POINTS,
    IncrementalHypervolume,
    dominated_volume,
    hypervolume,
    hypervolume_history,
)
from autotune.domain import Constraint, State


@st.composite
def point_sets(draw: st.DrawFn) -> np.ndarray:
    width = draw(st.integers(1, 5))
    value = st.one_of(st.integers(-1, 4).map(float), st.floats(0.01, 5.0))
    rows = draw(st.lists(st.lists(value, min_size=width, max_size=width), max_size=18))
    return np.array(rows, dtype=float).reshape(len(rows), width)


@settings(deadline=None)
@given(point_sets())
def test_volume_agrees_with_optuna(points: np.ndarray) -> None:
    inside = points[(points > 0).all(axis=1)]
    expected = compute_hypervolume(-inside, np.zeros(points.shape[1])) if len(inside) else 0.0
    assert dominated_volume(points) == pytest.approx(expected)


@settings(deadline=None)
@given(point_sets())
def test_adding_point_by_point_gives_the_volume_of_the_set(points: np.ndarray) -> None:
    front = IncrementalHypervolume(points.shape[1])
    for number, point in enumerate(points):
        before = front.volume
        is_dominated = bool((points[:number] >= point).all(axis=1).any())
        # What it adds can be less than the precision of the volume.
        assert front.add(point) is (bool((point > 0).all()) and not is_dominated)
        assert front.volume >= before and (front.volume == before or not is_dominated)
    assert front.volume == pytest.approx(dominated_volume(points))


@settings(deadline=None)
@given(point_sets(), st.integers(0, 18))
def test_adding_in_batches_gives_the_volume_of_the_set(points: np.ndarray, cut: int) -> None:
    front = IncrementalHypervolume(points.shape[1])
    for batch in (points[:cut], points[cut:]):
        front.add_all(batch)
    assert front.volume == pytest.approx(dominated_volume(points))


def test_many_objectives_have_a_short_history_with_an_exact_end() -> None:
    metrics = (SPEED, ACCURACY, COST, "peak_memory_gib")
    rng = np.random.default_rng(3)
    rows = [(10.0, 0.5, 4.0, 2.0), *rng.uniform((5, 0.3, 2, 1), (30, 0.9, 8, 4), (340, 4))]
    members, many = trials(*rows, metrics=metrics), study(*metrics)
    history = hypervolume_history(many, members)
    assert len(history) <= MAX_HISTORY_POINTS and history[-1].finished == len(members)
    assert history[-1].value == pytest.approx(hypervolume(many, members))


def test_units_of_the_default_and_its_reference_points() -> None:
    members = trials((10, 0.8, 4.0), (20, 0.4, 2.0), metrics=(SPEED, ACCURACY, COST))
    three = study(SPEED, ACCURACY, COST)
    # In units of the default above the reference: (1, 1, 1) and (2, 0.5, 1.5); they share 0.5.
    assert hypervolume(three, members) == pytest.approx(1 + 1.5 - 0.5)


def test_a_bound_on_the_losing_side_is_the_reference() -> None:
    bounds = [Constraint(ACCURACY, ">=", -0.2, relative=True), Constraint(SPEED, "<=", 1e9)]
    members = trials((10, 0.8), (20, 0.6), (40, 0.5))
    assert hypervolume(study(constraints=bounds), members) == pytest.approx(1 * 0.25)


def test_without_the_default_there_is_no_unit() -> None:
    assert hypervolume(study(), []) is None
    assert hypervolume(study(), [trial(0, state=State.FAILED), trial(1, {SPEED: 1.0})]) is None
    assert hypervolume_history(study(), [trial(0, state=State.FAILED)]) == []


def test_history_counts_every_finished_trial_and_never_decreases() -> None:
    members = [
        *trials((10, 0.8), (20, 0.7), (15, 0.7)),
        trial(3, state=State.INFEASIBLE),
        trial(4, {SPEED: 8.0, ACCURACY: 0.9}),
        trial(5, state=State.RUNNING),
    ]
    history = hypervolume_history(study(), members)
    assert [point.number for point in history] == [0, 1, 2, 3, 4]
    values = [point.value for point in history]
    assert values == sorted(values)
    assert values[1] == values[2] == values[3] < values[4]
    assert values[-1] == pytest.approx(hypervolume(study(), members))
