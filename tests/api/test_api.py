"""The Python interface over a replayed search."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import plotly.graph_objects as go
import pytest

import autotune
from autotune import api
from autotune.api.components import register
from autotune.domain import State, Study, Trial
from autotune.domain.metrics import METRICS
from autotune.errors import NotFoundError, SpecError, UsageError
from autotune.execution.replay.benchmark import write
from autotune.spec.overrides import write_overrides
from autotune.spec.yaml import read
from tests.execution.synthetic_benchmark import SPEC, synthetic_benchmark

ROOT = Path(__file__).parents[2]


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A study that replays a recording; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOTUNE_STORAGE", raising=False)
    write(synthetic_benchmark(), tmp_path / "hills.parquet")
    study: dict[str, Any] = read(SPEC, "hills.yaml").data
    study["executor"] = {"kind": "replay", "landscape": "hills.parquet"}
    study["sampler"], study["budget"] = "random", {"trials": 6}
    return study


class Recorder(api.Callback):
    """Notes every call."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.ended: list[int] = []
        self.fronts: list[list[int]] = []

    def on_trial_start(self, study: Study, trial: Trial) -> None:
        self.started.append(trial.number)

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        self.ended.append(trial.number)

    def on_front_change(self, study: Study, front: Sequence[Trial]) -> None:
        self.fronts.append([trial.number for trial in front])


def test_a_search_returns_tables_figures_and_the_trial_to_use(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder()
    result = api.search(document, progress=False, callbacks=[recorder])
    assert capsys.readouterr() == ("", "")
    complete = [trial for trial in result.trials if trial.state is State.COMPLETE]
    assert len(complete) >= 2
    assert sorted(recorder.ended) == [trial.number for trial in result.trials]
    assert set(recorder.started) == set(recorder.ended)
    assert recorder.fronts[-1] == list(result.front.index)
    knee = result.pick("knee")
    assert result.knee is not None and knee.number == result.knee.number
    objective = result.study.objectives[0].metric
    assert result.front.loc[knee.number, objective] == knee.metric(objective)
    assert result.table.shape[0] == len(result.trials)
    assert isinstance(result.plot(), go.Figure)
    assert f"trial {knee.number}" in result.summary
    assert "<table" in result._repr_html_()
    assert result.study.name in repr(result)


def test_a_stored_study_is_loaded_and_continued(document: dict[str, Any]) -> None:
    first = api.search(document, progress=False)
    loaded = api.load(first.study.name)
    assert [t.number for t in loaded.trials] == [t.number for t in first.trials]
    second = api.search(document, settings={"budget.trials": 8}, progress=False)
    assert len(second.trials) > len(first.trials)
    with pytest.raises(NotFoundError):
        api.load("missing")


def test_progress_is_printed(document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    api.search(document)
    assert "trial   0 complete" in capsys.readouterr().err


def test_results_are_exported_and_reported(document: dict[str, Any], tmp_path: Path) -> None:
    result = api.search(document, progress=False)
    files = result.export("yaml", tmp_path / "out")
    assert files and all(file.exists() for file in files)
    assert "autotune" in result.report("report.md", "md").read_text()


def test_keywords_make_the_study_of_a_file(document: dict[str, Any], tmp_path: Path) -> None:
    name = document.pop("study")
    study = api.Study(name, **document)
    path = study.save(tmp_path / "s.yaml")
    resolved = study.validate()
    assert resolved == api.Study.from_file(path).validate()
    assert resolved == api.Study.from_dict({"study": name, **document}).validate()


def test_mistakes_are_those_of_a_file(document: dict[str, Any]) -> None:
    document["objectives"] = ["acuracy"]
    with pytest.raises(SpecError) as error:
        api.search(document, progress=False)
    assert "accuracy" in error.value.message


def test_values_that_no_file_can_have(document: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="PosixPath is not JSON") as caught:
        api.Study("paths", task={"dataset": {"train": Path("train.jsonl")}})
    assert "str(path)" in str(caught.value.hint)
    with pytest.raises(UsageError, match="no file can have"):
        api.search(document, settings={"budget": {1, 2}}, progress=False)


def test_the_interface_loads_without_torch() -> None:
    heavy = {"torch", "transformers", "ray", "optuna", "pandas", "plotly", "streamlit"}
    assert heavy.isdisjoint(modules_after("import autotune; autotune.search"))
    assert "sqlalchemy" not in modules_after("import autotune")


def modules_after(code: str) -> list[str]:
    code += "; import json, sys; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    modules: list[str] = json.loads(run.stdout)
    return modules


def test_the_package_offers_the_interface() -> None:
    for name in api.__all__:
        assert getattr(autotune, name) is getattr(api, name)
    assert set(api.__all__) <= set(dir(autotune))
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        _ = autotune.serch  # type: ignore[attr-defined]


def run_blocks(text: str, names: dict[str, Any]) -> None:
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "docs/python.md", "exec"), names)


def test_the_examples_of_the_page_run(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every block is executed. Searches are validated, and then replay a recording instead."""
    replayed = api.search(document, progress=False)

    def validate(
        study: Any, *, settings: Any = None, components: Any = (), **options: Any
    ) -> api.Result:
        register(components)
        overrides = write_overrides(settings or {})
        assert api.Study.from_value(study).validate(overrides=overrides).objectives
        return replayed

    def tune(trainer: Any, **options: Any) -> api.TunedTrainer:
        inspect.signature(api.tune).bind(trainer, **options)
        return MagicMock(spec=api.TunedTrainer)

    monkeypatch.setattr(api, "search", validate)
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    search_part, tune_part = page.split("## A Trainer of your own")
    names: dict[str, Any] = {"trainer": object()}
    run_blocks(search_part, names)
    assert names["result"] is replayed
    monkeypatch.setattr(api, "tune", tune)
    run_blocks(tune_part, names)
    names["result"].apply.assert_called_once_with(names["trainer"])
    members = set(re.findall(r"`(\w+)[`(]", page.split("## Results")[1].split("## Callbacks")[0]))
    assert all(hasattr(replayed, name) for name in members - {"DataFrame"})
    for name in ("worst_recall", "deployed_worst_recall"):
        METRICS.unregister(name)
