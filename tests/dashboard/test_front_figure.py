"""The plot of the front."""

from __future__ import annotations

from dataclasses import replace

import plotly.graph_objects as go
import pytest
import sample_studies as samples

from autotune.analysis.snapshot import Snapshot
from autotune.domain import FailureReason, Infeasible, Strategy
from autotune.report.axes import Axis
from dashboard.front_figure import front_figure
from dashboard.front_traces import View

MARKUP = '<img src=x onerror="alert(1)"> **bold** [x](javascript:1)'


def test_figures_escape_names_of_users() -> None:
    study = samples.study("x")
    trials = list(samples.trials(study, 6))
    bad = replace(trials[1], strategy=Strategy({**trials[1].strategy.values, "precision": MARKUP}))
    snapshot = Snapshot(study, [trials[0], bad, *trials[2:]])
    view = View(Axis(samples.SPEED), Axis(samples.ACCURACY), None, [bad], [], [trials[0]])
    assert "<img" not in str(front_figure(snapshot, view).to_json()).replace("\\u003c", "<")


def test_front_figure_shows_intervals_default_and_reasons() -> None:
    study = samples.study("x")
    trials = list(samples.trials(study, 6))
    reason = Infeasible(FailureReason.OUT_OF_MEMORY, "needs 9 GiB")
    trials.append(replace(trials[5], number=6).finish(reason, samples.START))
    snapshot = Snapshot(study, trials)
    view = View(
        Axis(samples.SPEED, default=trials[0].metric(samples.SPEED), log=True),
        Axis(samples.ACCURACY), Axis(samples.COST), [], [], snapshot.front,
        suggested=snapshot.knee,
    )  # fmt: skip
    figure = front_figure(snapshot, view)
    traces = {trace.name: trace for trace in figure.data if trace.x and trace.x[0] is not None}
    assert traces["default"].x[0] == pytest.approx(1.0)
    assert figure.layout.xaxis.type == "log"
    assert any(traces["95% interval"].error_y.array)
    steps = figure.to_dict()["layout"]["coloraxis"]["colorscale"]
    assert [steps[0][0], steps[-1][0]] == [0, 1], "plotly.js ignores a bare list of colours"
    lane = next(trace for trace in figure.data if trace.y and trace.y[0] == "infeasible")
    assert "needs 9 GiB" in lane.hovertext[0] and isinstance(lane, go.Scatter)
