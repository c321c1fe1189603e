"""Figures of the pages: one unit an axis, feasible trials first, no effect where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sample_studies as samples
from streamlit.testing.v1 import AppTest
from test_pages import visit, words

from autotune.analysis.snapshot import Snapshot
from autotune.domain import Budget, Constraint, CurvePoint
from autotune.domain.metrics import get_metric
from autotune.levers import has_effect
from autotune.store import open_store
from dashboard import live
from dashboard.figures import CURVE_KINDS, curve_figure
from dashboard.parallel_figure import (
    VIOLATING,
    _feasible_ranks,
    parallel_figure,
    selected_numbers,
)


def test_a_learning_curve_has_one_unit_on_each_axis() -> None:
    values = {"accuracy": 0.8, "loss": 0.5, "f1": 0.7, samples.SPEED: 90.0, samples.COST: 1e-3,
              samples.MEMORY: 2.0, "model_size_mib": 300.0}  # fmt: skip
    figure = curve_figure([CurvePoint(5, 10, 40, 1.0, loss=0.6, metrics=values)])
    axes = {trace.name: trace.yaxis for trace in figure.data}
    left = {name for name, axis in axes.items() if axis in (None, "y")}
    assert left == {"training loss", "validation loss"}
    assert axes.keys() - left == {"accuracy", "F1"}


def test_a_curve_has_all_its_scores() -> None:
    names = ["accuracy", "f1", "mcc", "loss", *(f"own_score_{n}" for n in range(9))]
    figure = curve_figure([CurvePoint(5, 10, 40, 1.0, metrics=dict.fromkeys(names, 0.5))])
    assert len(figure.data) == 1 + len([n for n in names if get_metric(n).kind in CURVE_KINDS])


def test_a_study_that_is_searched_again_under_its_name_begins_afresh(tmp_path: object) -> None:
    study = samples.study("s", (samples.SPEED,), trials=48)
    trials = list(samples.trials(study, 12))
    store = open_store(f"sqlite:///{tmp_path}/s.db")
    samples.write(store, study, trials)
    opened = live.LiveStudy(store, "s")
    assert len(opened.refresh().trials) == 12
    store.delete_study("s")
    samples.write(store, study, trials[:3])
    assert len(opened.refresh().trials) == 3


def test_the_best_fifth_is_feasible() -> None:
    study = samples.study("s", (samples.SPEED, samples.ACCURACY), trials=48)
    trials = list(samples.trials(study, 40))
    bound = sorted(t.metric(samples.ACCURACY) or 0.0 for t in trials)[25]
    study = replace(study, constraints=(Constraint(samples.ACCURACY, ">=", bound),))
    snapshot = Snapshot(study, trials)
    members = [t for t in trials if t.metric(samples.SPEED) is not None]
    ranks = _feasible_ranks(snapshot, members, samples.SPEED)
    feasible = {t.number for t in snapshot.feasible}
    assert all(
        (rank == VIOLATING) is (t.number not in feasible)
        for t, rank in zip(members, ranks, strict=True)
    )
    figure = parallel_figure(snapshot, members, samples.SPEED)
    assert "violates a constraint" in [trace.name for trace in figure.data]
    assert not any("0.3" in str(a.bgcolor) for a in figure.layout.annotations)


def test_a_selection_on_axes_makes_the_other_lines_pale() -> None:
    study = samples.study("s", (samples.SPEED, samples.ACCURACY), trials=48)
    snapshot = Snapshot(study, list(samples.trials(study, 30)))
    complete = [t for t in snapshot.trials if t.number in snapshot.verdicts and t.metrics]
    selected = selected_numbers({0: {1, 2, 3, 4}, 5: {2, 3, 9}})
    assert selected == {2, 3} and selected_numbers({}) is None
    figure = parallel_figure(snapshot, complete, samples.SPEED, selected)
    lines = {trace.name: trace.x.count(None) for trace in figure.data if trace.mode == "lines"}
    assert lines.pop("not selected") == len(complete) - 2 and sum(lines.values()) == 2
    points = next(trace for trace in figure.data if trace.mode == "markers")
    axes = len(figure.layout.yaxis.tickvals)
    assert {tuple(pair) for pair in points.customdata} == {
        (trial.number, axis) for trial in complete for axis in range(axes)
    }


@pytest.mark.parametrize(
    ("lever", "metric", "expected"),
    [("learning_rate", samples.SPEED, False), ("learning_rate", "accuracy", True),
     ("threads", "accuracy", False), ("threads", samples.SPEED, True),
     ("epochs", "train_seconds", True), ("lever_of_a_plugin", samples.SPEED, True),
     ("learning_rate", "latency_p50_ms", False), ("learning_rate", "deployed_accuracy", True),
     ("padding", "size_mb", False), ("pruning_ratio", "size_mb", True),
     ("model", "latency_p50_ms", True), ("runtime", "latency_p50_ms", True)],
)  # fmt: skip
def test_the_registry_says_what_a_lever_changes(lever: str, metric: str, expected: bool) -> None:
    assert has_effect(lever, metric) is expected


def test_no_effect_of_the_learning_rate_on_speed_is_drawn(opened: str) -> None:
    app: AppTest = visit("levers", study="complete", lever="learning_rate", metric=samples.SPEED)
    assert "does not change" in words(app).replace("\\", "")
    rows = next(f.value for f in app.dataframe if "setting" in f.value.columns)
    assert "learning_rate" not in set(rows["lever"]) and "threads" in set(rows["lever"])


def test_a_used_budget_is_done(tmp_path: object) -> None:
    """A search ends when no further trial fits, before every minute is used."""
    study = samples.study("s", (samples.SPEED,), trials=48)
    trials = list(samples.trials(study, 12))
    url = f"sqlite:///{tmp_path}/s.db"
    store = open_store(url)
    minutes = sum((t.seconds or 0.0) for t in trials) / 60 * 1.02
    study = replace(study, budget=Budget(minutes=minutes))
    samples.write(store, study, trials)
    (overview,) = store.studies_overview()
    share = live.used_share(overview.study, store.trials("s"))
    row = live.StudyRow((overview.created_at, 0), "", "", share)
    assert row.share == 1.0
    more = replace(study, budget=Budget(minutes=10 * minutes))
    assert 0.0 < (live.used_share(more, trials) or 0.0) < 0.2
    store.close()
