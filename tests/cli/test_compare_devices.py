"""The command ``compare-devices``: a fine-tune on every device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from autotune.cli.app import app
from autotune.cli.commands.compare_devices import _comparison
from autotune.domain import Completed, FailureReason, Infeasible, Measurement, TrialResult
from autotune.errors import AutotuneError

STUDY = """\
study: s
task: {{model: builtin:bert-tiny, dataset: {{train: {data}}}, steps: 4, max_length: 16}}
objectives: [accuracy, train_samples_per_second]
space: {{batch_size: [4, 8]}}
start_with: [{{batch_size: 4}}]
"""


def _study(folder: Path) -> Path:
    data, file = folder / "train.jsonl", folder / "s.yaml"
    rows = [{"text": f"house number {n}", "label": "ab"[n % 2]} for n in range(40)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    file.write_text(STUDY.format(data=data), encoding="utf-8")
    return file


def test_each_device_has_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))
    file = _study(tmp_path)
    result = CliRunner().invoke(app, ["compare-devices", str(file), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["cpu"]["accuracy"] >= 0
    assert document["cpu"]["train_samples_per_second"] > 0


def test_no_device_completing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))
    file = _study(tmp_path)
    limit = ["--set", "limits.memory_gib=0.01"]
    result = CliRunner().invoke(app, ["compare-devices", str(file), "--json", *limit])
    assert isinstance(result.exception, AutotuneError)
    assert "reason" in json.loads(result.stdout)["cpu"]


def test_figures_have_intervals_and_devices_without_a_result_a_reason() -> None:
    speed = Measurement("train_samples_per_second", 200.0, "samples/s", 8, (190.0, 210.0))
    memory = Measurement("peak_memory_gib", 1.5, "GiB")
    outcomes = {
        "cpu": Completed(TrialResult({m.name: m for m in (speed, memory)})),
        "cuda:0": Infeasible(FailureReason.UNSUPPORTED, "no kernel"),
    }
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(_comparison(outcomes))
    text = " ".join(capture.get().split())
    assert "training speed (samples/s) 200.0 ±5% not measured" in text
    assert "peak memory (GiB) 1.50 not measured" in text and "cuda:0: no kernel" in text
