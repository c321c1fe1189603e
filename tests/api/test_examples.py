"""The notebook and the scripts of examples/, which run offline."""

from __future__ import annotations

import runpy
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.spec.hosts import CPU

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.timeout(900)
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("runs", "locks"):
        monkeypatch.setenv(f"AUTOTUNE_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", nbformat.NO_CONVERT)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    for large, small in (('"trials": 5', '"trials": 2'), ("200", "32"), ("100", "32")):
        assert large in first.source
        first.source = first.source.replace(large, small)
    folder = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=800, startup_timeout=300, resources=folder)
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = [output["data"] for output in outputs if "data" in output]
    assert any("worst_recall" in page.get("text/html", "") for page in pages)
    assert any("application/vnd.plotly.v1+json" in page for page in pages)
    assert (tmp_path / "quickstart.html").exists()


def test_the_sweep_is_a_valid_study() -> None:
    make_study = runpy.run_path(str(EXAMPLES / "sweep_models.py"))["make_study"]
    study = make_study(["builtin:minilm", "builtin:bert-tiny"], None, 100, 3).validate(CPU)
    assert {"model", "batch_size", "learning_rate"} == {d.lever for d in study.space.dimensions}
