"""Every page with every kind of study, run by Streamlit's test driver."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from conftest import KINDS, ROOT
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from autotune.domain import State
from dashboard import exporting, settings
from dashboard.app import PAGES
from dashboard.password import PasswordGate

SCRIPT = ROOT / "dashboard" / "main.py"


def visit(page: str, **params: str) -> AppTest:
    """Open a page by its URL and run it once."""
    app = AppTest.from_file(str(SCRIPT), default_timeout=60)
    app._page_hash = "" if page == "studies" else calc_hash(page)
    for name, value in params.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception, [problem.message for problem in app.exception]
    return app


def words(app: AppTest) -> str:
    kinds = ("markdown", "caption", "info", "warning", "error", "subheader", "title")
    return "\n".join(str(element.value) for kind in kinds for element in getattr(app, kind))


def _table_with(app: AppTest, column: str) -> pd.DataFrame:
    return next(f.value for f in app.dataframe if column in f.value.columns)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("page", PAGES)
def test_every_page_with_every_kind_of_study(opened: str, page: str, kind: str) -> None:
    params = {"with": kind} if page == "compare" else {"study": kind}
    app = visit(page, **params)
    assert app.title[0].value == PAGES[page][1]
    assert not app.error
    if page in ("front", "trials", "trial", "search", "levers") and kind == "empty":
        assert len(app.info) == 1


def test_list_of_studies_has_best_values_and_progress(
    opened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.views.studies.MAX_COMPUTE_SECONDS", 60.0)  # of a busy machine
    frame = visit("studies").dataframe[0].value
    assert list(frame["study"]) == list(reversed(KINDS))
    rows = frame.set_index("study")
    assert rows.loc["running", "state"] == "running"
    assert (rows.loc["complete", "state"], rows.loc["empty", "state"]) == ("stopped", "not started")
    assert (rows.loc["complete", "progress"], rows.loc["empty", "progress"]) == (92, 0)
    bests = rows.loc["complete", "best so far (against the default)"]
    assert re.match(
        r"[\d.]+ samples/s \([\d.]+ to [\d.]+\), [\d.]+x \(.*\), not confirmed · .*on test", bests
    ), bests
    assert rows.loc["infeasible", "best so far (against the default)"] == "nothing yet"


def test_front_suggests_a_trial_and_filters(opened: str) -> None:
    app = visit("front", study="complete")
    assert "faster than the default" in words(app) or "default configuration" in words(app)
    before = next(c.value for c in app.caption if "on the front" in c.value)
    slider = next(s for s in app.slider if s.label.startswith("training speed"))
    app = slider.set_value(slider.max * 0.6).run()
    after = next(c.value for c in app.caption if "on the front" in c.value)
    assert before != after and "hidden by the filters" in after
    slider = next(s for s in app.slider if s.label.startswith("training speed"))
    app = slider.set_value(slider.max).run()
    assert "No trial passes these filters" in words(app)


def test_weights_select_another_trial(opened: str) -> None:
    app = visit("front", study="complete", way="By weight")
    weights = [s for s in app.slider if s.label.startswith("Weight of")]
    assert len(weights) == 3
    for slider in weights:
        slider.set_value(10 if "accuracy" in slider.label else 0)
    accurate = _suggested(app.run())
    for slider in (s for s in app.slider if s.label.startswith("Weight of")):
        slider.set_value(10 if "speed" in slider.label else 0)
    assert _suggested(app.run()) != accurate


def _suggested(app: AppTest) -> str:
    return next(str(m.value) for m in app.markdown if str(m.value).startswith("**Trial"))


def test_front_takes_axes_and_trial_from_the_url(opened: str) -> None:
    app = visit("front", study="many", x="accuracy", y="peak memory", trial="0")
    chosen = {box.label: box.value for box in app.selectbox}
    assert (chosen["Across"], chosen["Up"]) == ("accuracy", "peak_memory_gib")
    assert any(s.value == "Trial 0" for s in app.subheader)


def test_unknown_names_in_the_url_are_reported(opened: str) -> None:
    assert "There is no study" in words(visit("front", study="<b>nosuch</b>"))
    assert "trials 0 to" in words(visit("trial", study="single", trial="999"))


def test_trials_are_filtered_by_condition_and_state(opened: str) -> None:
    unfiltered = visit("trials", study="complete").dataframe[0].value
    app = visit("trials", study="complete", where="precision == bf16 and accuracy > 0.5")
    filtered = app.dataframe[0].value
    assert 0 < len(filtered) < len(unfiltered)
    assert set(filtered["precision"]) == {"bf16"}
    app.text_input[0].set_value("precison == bf16").run()
    assert "did you mean precision" in words(app).replace("\\", "")


def test_trial_highlights_what_differs_and_shows_the_log(opened: str) -> None:
    app = visit("trial", study="complete", trial="0")
    assert not _table_with(app, "differs")["differs"].any()
    assert any("step 25 loss" in code.value for code in app.code)
    app = visit("trial", study="complete")
    assert _table_with(app, "differs")["differs"].any()


def test_confirmed_and_confirming_trials_link_to_each_other(opened: str) -> None:
    app = visit("trial", study="complete", trial="0")
    runs = _table_with(app, "seed")
    assert list(runs["trial"]) == ["0", "40", "41", "mean", "95% interval"]
    assert list(runs["split"])[:3] == ["validation", "test", "test"]
    app = visit("trial", study="complete", trial="40")
    assert "Repeats the full training run of trial 0" in words(app)
    assert "confirmed by 2 runs" in words(visit("trial", study="complete", trial="0"))


def test_front_shows_the_probability_of_a_trial(opened: str) -> None:
    app = visit("front", study="complete")
    assert "to be on the front given the noise" in words(app)


def test_reused_and_predicted_values_are_marked(opened: str) -> None:
    app = visit("trial", study="complete", trial="42")
    measurements = _table_with(app, "from")
    by_metric = measurements.set_index("metric")["from"]
    assert by_metric["accuracy"] == "reused from trial 0"
    assert by_metric["training speed"] == "this trial"
    predictions = _table_with(app, "off by")
    assert list(predictions["off by"]) == ["-7%"]


def test_a_condition_can_leave_no_trial(opened: str) -> None:
    app = visit("trials", study="complete", where="accuracy > 2")
    assert not app.error
    assert "Needs at least two complete trials" in words(app)


def test_search_shows_where_trials_were_stopped(opened: str) -> None:
    app = visit("search", study="complete")
    rows = _table_with(app, "reason")
    assert rows.set_index("trial").loc[44, "after"] == 0
    assert "dominated by trial 0" in rows.set_index("trial").loc[44, "reason"]
    assert (rows["after"] > 0).any()


def test_filters_weights_and_the_third_axis_come_from_the_url(opened: str) -> None:
    app = visit("front", study="complete")
    speed = next(s for s in app.slider if s.label.startswith("training speed"))
    params = {"at-train_samples_per_second": str(speed.max * 0.6), "way": "By weight"}
    app = visit("front", study="complete", solid="true", **params, **{"w-accuracy": "9"})
    values = {s.label: s.value for s in app.slider}
    assert values["Weight of accuracy"] == 9 and values["Weight of cost"] == 5
    assert values[speed.label] == pytest.approx(speed.max * 0.6, rel=0.02)
    assert "hidden by the filters" in words(app)
    assert next(t for t in app.toggle if t.label == "Three dimensions").value


def test_infeasible_trial_shows_the_reason(opened: str) -> None:
    app = visit("trial", study="infeasible", trial="7")
    assert State.INFEASIBLE.value in words(app)
    assert "limit is 2" in words(app)


def test_search_shows_the_steps_that_early_stopping_saved(opened: str) -> None:
    assert "saved the steps of" in words(visit("search", study="complete"))


def test_levers_page_shows_the_selected_lever(opened: str) -> None:
    app = visit("levers", study="complete", lever="precision", metric="accuracy")
    assert any(s.value == "Accuracy by precision" for s in app.subheader)


def test_compare_has_a_column_for_each_study(opened: str) -> None:
    app = AppTest.from_file(str(SCRIPT), default_timeout=60)
    app._page_hash = calc_hash("compare")
    app.query_params["with"] = ["single", "many"]
    app.run()
    assert not app.exception
    assert set(app.dataframe[0].value.columns) == {"single", "many"}


def test_export_writes_and_shows_files(opened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def write_files(storage: str, study: str, number: int, target: str, folder: Path) -> None:
        calls.append((study, number, target))
        folder.mkdir(parents=True)
        (folder / "train.py").write_text("print('trained')")
        (folder / "model.safetensors").write_bytes(b"\\xff" * 10)

    monkeypatch.setattr(exporting, "run_export", write_files)
    app = visit("export", study="complete", choice="0")
    assert not calls and "autotune export complete --trial 0" in app.code[0].value
    app.button[0].click().run()
    assert calls == [("complete", 0, "hf-trainer")]
    assert any("print('trained')" in code.value for code in app.code)
    app.text_input[0].set_value("fastet").run()
    assert "did you mean fastest" in words(app).replace("\\", "")


def test_failing_export_is_reported(opened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting.sys, "executable", "/bin/false")
    app = visit("export", study="complete", choice="0")
    app.button[0].click().run()
    assert not app.exception and "the export failed" in words(app)


def test_pages_need_the_password(opened: str) -> None:
    settings.configure(settings.Settings(opened, PasswordGate("open sesame")))
    app = AppTest.from_file(str(SCRIPT), default_timeout=60).run()
    assert not app.title and len(app.text_input) == 1
    app.text_input[0].set_value("wrong guess")
    app.button[0].click().run()
    assert "Wrong password" in words(app) and not app.title
    app.text_input[0].set_value("open sesame")
    app.button[0].click().run()
    assert app.title[0].value == "Studies"


def test_server_without_settings_shows_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_current", None)
    app = AppTest.from_file(str(SCRIPT), default_timeout=60).run()
    assert "not started by" in words(app) and not app.title


def test_missing_store_is_reported(opened: str, tmp_path: Path) -> None:
    settings.configure(settings.Settings(f"sqlite:///{tmp_path / 'none.db'}"))
    app = AppTest.from_file(str(SCRIPT), default_timeout=60).run()
    assert not app.exception
    assert "no autotune storage" in words(app).replace("\\", "")
