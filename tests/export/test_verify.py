"""``verify`` on a folder whose script writes given metrics at once."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from autotune.errors import ExecutionError, UsageError
from autotune.export.verify import Check, launchable, verify

SCRIPT = """\
import json, os, pathlib
assert os.environ["TUNED_REFERENCE"] == "1"
pathlib.Path("metrics.json").write_text({metrics!r})
"""


def window(examples: int, warmup: bool = False) -> dict[str, Any]:
    return {"examples": examples, "seconds": 1.0, "warmup": warmup}


def accuracy(value: float) -> dict[str, Any]:
    return {"value": value, "unit": "ratio", "n": 100, "ci95": [value - 0.1, value + 0.08]}


def folder(path: Path, *, speed: int = 100, reference: float = 0.5, score: float = 0.8) -> Path:
    """A trial with 100 samples/s and a reference of 0.5 s, and a script with given results."""
    metrics = {
        "windows": [window(1, warmup=True), *(window(speed) for _ in range(5))],
        "reference_seconds": [reference] * 4,
        "validation": {"accuracy": accuracy(score)},
    }
    promised = {
        "train_samples_per_second": {"value": 100.0, "ci95": [99.0, 101.0]},
        "relative_speed": {"value": 50.0, "ci95": [49.0, 51.0]},
        "accuracy": accuracy(0.8),
    }
    document = {"command": ["python", "train.py"], "measured": promised}
    (path / "strategy.json").write_text(json.dumps(document))
    (path / "train.py").write_text(SCRIPT.format(metrics=json.dumps(metrics)))
    return path


def results(checks: list[Check]) -> dict[str, bool]:
    return {check.metric: check.passed for check in checks}


def test_checks_pass_for_the_results_of_the_trial(tmp_path: Path) -> None:
    checks = verify(folder(tmp_path))
    assert results(checks) == {"relative_speed": True, "accuracy": True}
    assert checks[0].reached == pytest.approx(50.0)
    assert checks[0].ratio == pytest.approx(1.0)


def test_a_slower_script_fails(tmp_path: Path) -> None:
    assert results(verify(folder(tmp_path, speed=90)))["relative_speed"] is False


def test_a_little_slower_is_within_the_noise(tmp_path: Path) -> None:
    assert results(verify(folder(tmp_path, speed=96)))["relative_speed"] is True


def test_a_slower_machine_is_no_broken_promise(tmp_path: Path) -> None:
    """Half the speed beside a reference that takes twice as long is the same strategy."""
    assert results(verify(folder(tmp_path, speed=50, reference=1.0)))["relative_speed"] is True


def test_a_faster_machine_hides_no_broken_promise(tmp_path: Path) -> None:
    assert results(verify(folder(tmp_path, speed=100, reference=0.25)))["relative_speed"] is False


def test_accuracy_below_the_interval_is_told_of(tmp_path: Path) -> None:
    assert results(verify(folder(tmp_path, score=0.71)))["accuracy"] is True
    assert results(verify(folder(tmp_path, score=0.69)))["accuracy"] is False


def test_runs_are_pooled(tmp_path: Path) -> None:
    checks = verify(folder(tmp_path), runs=2)
    assert all(results(checks).values())


def test_a_script_that_fails_names_its_log(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "train.py").write_text("raise RuntimeError('no such luck')")
    with pytest.raises(ExecutionError, match="code 1: RuntimeError: no such luck") as caught:
        verify(tmp_path)
    assert "verify.log" in str(caught.value.hint)


def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"command": ["sh", "-c", "sleep 600 & echo $! > child; wait"], "measured": {}}
    (tmp_path / "strategy.json").write_text(json.dumps(document))
    monkeypatch.setattr("autotune.export.verify.MIN_TIMEOUT_SECONDS", 2.0)
    with pytest.raises(ExecutionError, match="still running"):
        verify(tmp_path)
    child = int((tmp_path / "child").read_text())
    until = time.monotonic() + 50
    while not ended(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert ended(child)


def ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_metrics_of_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    verify(folder(tmp_path))
    (tmp_path / "train.py").write_text("")
    with pytest.raises(ExecutionError):
        verify(tmp_path)


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match="no-such-launcher is not installed"):
        launchable(["no-such-launcher", "train.py"])


def test_a_job_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert launchable(["sbatch", "job.sbatch"]) == ["/usr/bin/sbatch", "--wait", "job.sbatch"]


@pytest.mark.parametrize("text", [None, "{}", '{"command": []}', "nonsense"])
def test_a_folder_that_is_no_export(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "strategy.json").write_text(text)
    with pytest.raises(UsageError, match="not an exported folder"):
        verify(tmp_path)


@pytest.mark.parametrize(
    "document",
    [
        {"command": "python train.py", "measured": {}},
        {"command": [1], "measured": {}},
        {"command": ["python", ""], "measured": {}},
        {"command": ["python"], "measured": [1]},
        {"command": ["python"], "measured": {"accuracy": 3}},
        {"command": ["python"], "measured": {"accuracy": {"value": float("inf"), "ci95": None}}},
        {"command": ["python"], "measured": {"accuracy": {"value": 1, "ci95": ["a", 2]}}},
        {"command": ["python"], "measured": {"accuracy": {"value": 1, "ci95": 5}}},
    ],
)
def test_field_odd_values_are_named(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "strategy.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"not an exported folder|strategy\.json: measured"):
        verify(tmp_path)


def test_field_a_deeply_nested_file_is_no_export(tmp_path: Path) -> None:
    (tmp_path / "strategy.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="not an exported folder"):
        verify(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", "[" * 100_000, '{"windows": 3}', "nonsense"])
def test_field_odd_metrics_are_named(text: str, tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "train.py").write_text(f"open('metrics.json', 'w').write({text!r})")
    with pytest.raises(ExecutionError, match=r"metrics\.json has no speeds and scores"):
        verify(tmp_path)


def test_field_a_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep me")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/verify.log").symlink_to(victim)
    verify(folder(tmp_path / "out"))
    assert victim.read_text() == "keep me"
