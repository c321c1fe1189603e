"""Studies of one trial: axes within what is possible, and a default that meets its own bound."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.analysis.snapshot import Snapshot
from autotune.domain import Constraint
from autotune.report.axes import Axis
from autotune.report.figures import front_summary_figure, growth_figure
from benchmarks import sample_studies as samples

STUDY = samples.study("one", (samples.SPEED, samples.ACCURACY, samples.COST))
DEFAULT = next(iter(samples.trials(STUDY, 1)))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (samples.COST, {"clipmin": 0.0}),
        (samples.SPEED, {"clipmin": 0.0}),
        (samples.ACCURACY, {"clipmin": 0.0, "clipmax": 1.0}),
        ("mcc", {}),
        ("metric_of_a_plugin", {}),
    ],
)
def test_an_axis_stays_within_what_is_possible(metric: str, expected: dict[str, float]) -> None:
    assert Axis(metric).layout()["autorangeoptions"] == expected
    assert "autorangeoptions" not in Axis(metric, log=True).layout()
    assert "clipmax" not in str(Axis(metric, default=2.0).layout())


def test_figures_of_one_trial_can_be_drawn() -> None:
    snapshot = Snapshot(STUDY, [DEFAULT])
    growth = growth_figure(snapshot)
    assert growth.layout.xaxis.autorangeoptions.clipmin == 0
    assert (growth.layout.xaxis.dtick, growth.layout.xaxis.tickformat) == (1, "d")
    front = front_summary_figure(snapshot, samples.COST, samples.ACCURACY)
    assert front.layout.xaxis.autorangeoptions.clipmin == 0


@pytest.mark.parametrize("operator", [">=", "<="])
def test_the_default_meets_a_bound_relative_to_itself_for_certain(operator: str) -> None:
    bound = Constraint(samples.ACCURACY, operator, 0.0, True)  # type: ignore[arg-type]
    snapshot = Snapshot(replace(STUDY, constraints=(bound,)), [DEFAULT])
    assert [point.probability for point in snapshot.front_points.values()] == [1.0]
