"""The faults of ``benchmarks/faults.py``, a few times each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TIMES = 3
KILLS = 8


@pytest.fixture(scope="module")
def faults(benchmark_scripts: None) -> Any:
    """The script; benchmarks are no package."""
    import faults

    return faults


def test_field_no_trial_is_lost_or_measured_twice_when_the_driver_is_killed(
    faults: Any, tmp_path: Path
) -> None:
    """At random moments, in two rounds: an interrupted run of the benchmark continues."""
    record = tmp_path / "rounds.jsonl"
    for times in (KILLS // 2, KILLS):
        folder = tmp_path / str(times)
        folder.mkdir()
        result = faults.kill_drivers(folder, times, record)
        assert (result.changed, result.doubled, result.processes_left) == (0, 0, 0)
    rounds = len(record.read_text().splitlines())
    assert rounds >= 2 and f"{rounds} of {rounds} searches ended as usual" in result.then
    assert result.times == KILLS and result.finished > KILLS


@pytest.mark.parametrize("name", ["workers", "forkservers", "disk", "connections"])
def test_field_finished_trials_survive_faults(faults: Any, name: str, tmp_path: Path) -> None:
    directory = tmp_path / name
    directory.mkdir()
    result = faults.FAULTS[name](directory, TIMES)
    assert (result.changed, result.doubled, result.processes_left) == (0, 0, 0)
    if name == "disk" and result.times == 0:
        pytest.skip(result.then)
    assert result.times > 0 and result.finished > 10
    assert "ended as usual" in result.then or "disk is full" in result.then


def test_field_memory_that_is_short_ends_trials_and_not_the_search(
    faults: Any, tmp_path: Path
) -> None:
    directory = tmp_path / "memory"
    directory.mkdir()
    result = faults.exceed_memory(directory, TIMES)
    assert (result.changed, result.doubled, result.processes_left) == (0, 0, 0)
    assert "ended as usual" in result.then and "out_of_memory" in result.then
