"""Scores on the test split beside those on validation, the range of the front, and the path."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import sample_studies as samples
from test_pages import visit, words

from autotune.analysis.snapshot import Snapshot
from autotune.domain import Measurement, Study, Trial, TrialOrigin
from autotune.report.axes import Axis, error_lengths
from dashboard.figures import compare_figure
from dashboard.front_figure import front_figure
from dashboard.front_traces import View, plane_traces
from dashboard.views import trial as trial_page

STUDY: Study = replace(samples.study("s", (samples.SPEED, samples.ACCURACY)), constraints=())


def with_score(trial: Trial, accuracy: float, error: float = 0.03) -> Trial:
    own = trial.result.measurements
    ends = (accuracy - error, accuracy + error)
    score = Measurement(samples.ACCURACY, accuracy, "ratio", 600, ends)
    result = replace(trial.result, measurements={**own, samples.ACCURACY: score})
    return replace(trial, result=result)


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    """With an outlier: trial 7 learned nothing. The default is confirmed by two runs."""
    members = list(samples.trials(STUDY, 24))
    members[7] = with_score(members[7], 0.02)
    return [*members, *(samples.confirming(members[0], 24 + n, seed=7 + n) for n in range(2))]


def test_an_outlier_does_not_squeeze_the_front(trials: list[Trial]) -> None:
    snapshot = Snapshot(STUDY, trials)
    marked = [*snapshot.front, trials[0]]
    axis = Axis(samples.ACCURACY).zoomed(marked, snapshot.feasible)
    assert all(axis.contains(trial) for trial in marked)
    assert not axis.contains(trials[7]) and axis.limits is not None and axis.limits[0] > 0.1
    assert Axis(samples.ACCURACY).contains(trials[7])
    log = Axis(samples.ACCURACY, log=True).zoomed(marked, snapshot.feasible)
    assert not log.contains(trials[7]) and log.layout()["type"] == "log"


def test_an_axis_of_one_value_is_not_limited(trials: list[Trial]) -> None:
    assert Axis(samples.ACCURACY).zoomed(trials[:1], trials).limits is None
    assert Axis(samples.ACCURACY).zoomed([], []).limits is None


def test_the_page_counts_trials_beyond_the_range_and_shows_them_on_demand(opened: str) -> None:
    text = words(visit("front", study="complete"))
    assert "complete trials on the front" in text and "outside the constraints" in text
    assert "beyond the range of the plot" in text
    assert "beyond the range" not in words(visit("front", study="complete", all="true"))


def test_intervals_begin_at_their_marks(trials: list[Trial]) -> None:
    """Also where the mean of several runs is far from the run that is drawn."""
    assert error_lengths([1.0], [(1.2, 1.5)]) == {"array": [0.5], "arrayminus": [0.0]}
    snapshot = Snapshot(STUDY, trials)
    view = View(
        Axis(samples.SPEED), Axis(samples.ACCURACY), None, [], [], snapshot.front,
        line=snapshot.front,
    )  # fmt: skip
    traces = {trace.name: trace for trace in front_figure(snapshot, view).data if trace.mode}
    drawn = zip(traces["front"].x, traces["front"].y, strict=True)
    bars = zip(traces["95% interval"].x, traces["95% interval"].y, strict=True)
    assert set(bars) == set(drawn)


@pytest.mark.parametrize("is_log", [False, True])
def test_intervals_wider_than_the_plot_are_pale_and_have_arrows(
    trials: list[Trial], is_log: bool
) -> None:
    members = [
        with_score(trial, trial.metric(samples.ACCURACY) or 0.0, 0.3 if trial.number % 2 else 0.001)
        for trial in trials
    ]
    snapshot = Snapshot(STUDY, members)
    axes = Axis(samples.SPEED), Axis(samples.ACCURACY, log=is_log)
    x, y = (axis.zoomed(snapshot.front, snapshot.feasible) for axis in axes)
    traces = plane_traces(snapshot, View(x, y, None, [], [], snapshot.front))
    names = ("95% interval", "95% interval beyond the plot", "interval goes on")
    bars, pale, arrows = ({t["name"]: t for t in traces}[name] for name in names)
    assert y.limits is not None
    for index, trial in enumerate(snapshot.front):
        value, is_wide = trial.metric(samples.ACCURACY) or 0.0, bool(trial.number % 2)
        for trace, is_drawn in ((bars, not is_wide), (pale, is_wide)):
            lengths = [trace["error_y"][side][index] for side in ("arrayminus", "array")]
            assert [length > 0 for length in lengths] == [is_drawn, is_drawn]
            assert y.limits[0] < value - lengths[0] and value + lengths[1] < y.limits[1]
    marks = zip(arrows["marker"]["symbol"], arrows["y"], strict=True)
    ends = {(symbol, end) for symbol, end in marks if symbol in ("triangle-down", "triangle-up")}
    assert len(ends) == 2
    assert all(y.limits[0] < end < y.limits[1] for _, end in ends)


def test_scores_on_test_stand_beside_those_on_validation(opened: str) -> None:
    app = visit("trial", study="complete", trial="0")
    labels = {metric.label: metric.value for metric in app.metric}
    assert labels["accuracy on test"].endswith("%") and "accuracy" in labels
    assert "accuracy on test" not in {m.label for m in visit("trial", study="many").metric}
    frame = visit("trials", study="complete").dataframe[0].value
    scores = frame.set_index("trial")["accuracy on test"]
    assert 0 < scores[0] < 1 and scores.drop(0).dropna().empty


def test_the_hover_of_a_confirmed_trial_has_its_test_score(trials: list[Trial]) -> None:
    snapshot = Snapshot(STUDY, trials)
    view = View(Axis(samples.SPEED), Axis(samples.ACCURACY), None, [], [], [trials[0]])
    traces = {trace.name: trace for trace in front_figure(snapshot, view).data if trace.hovertext}
    assert "accuracy on test " in traces["default"].hovertext[0]
    assert compare_figure({"s": snapshot}, view.x, view.y, relative=True).data


def test_a_trial_shows_where_its_gain_comes_from(opened: str) -> None:
    app = visit("trial", study="complete", trial="29")
    assert "Where the gain comes from" in words(app) and "recommended: knee" in words(app)
    table = next(f.value for f in app.dataframe if "together" in set(f.value.iloc[:, 0]))
    assert list(table.columns) == ["lever", "training speed", "accuracy", "cost"]
    assert "Where the gain comes from" not in words(visit("trial", study="complete", trial="0"))


def test_the_page_of_a_trial_lists_replicates_and_confirmations(
    trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [
        replace(trials[of], number=26 + n, seed=101, origin=TrialOrigin.REPLICATE)
        for n, of in enumerate((0, 3))
    ]
    snapshot, frames = Snapshot(STUDY, [*trials, *runs]), list[pd.DataFrame]()
    monkeypatch.setattr(trial_page.st, "dataframe", lambda frame, **options: frames.append(frame))
    monkeypatch.setattr(trial_page.st, "subheader", lambda text, **options: None)
    for number in (0, 3, 27):
        trial_page._confirmations(snapshot, snapshot.by_number[number])
    assert [frame["trial"].tolist() for frame in frames] == [
        ["0", "26", "24", "25", "mean", "95% interval"],
        ["3", "27"],
    ]
    assert frames[0]["split"].tolist()[:4] == ["validation"] * 2 + ["test"] * 2


@pytest.mark.parametrize("is_relative", [False, True])
def test_wide_intervals_do_not_squeeze_a_comparison(trials: list[Trial], is_relative: bool) -> None:
    members = [with_score(trial, trial.metric(samples.ACCURACY) or 0.0, 0.3) for trial in trials]
    snapshots = {"a": Snapshot(STUDY, trials), "b": Snapshot(STUDY, members)}
    axes = Axis(samples.SPEED), Axis(samples.ACCURACY)
    figure = compare_figure(snapshots, *axes, relative=is_relative)
    marks = [y for trace in figure.data if trace.hovertext is not None for y in trace.y]
    low, high = figure.layout.yaxis.range
    span = max(marks) - min(marks)
    assert low < min(marks) and max(marks) < high and high - low < 1.2 * span
    for trace in figure.data:
        for y, above in zip(trace.y, trace.error_y.array or (), strict=False):
            assert y + above < high
