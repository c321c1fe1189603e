"""The faults of ``benchmarks/faults.py``, a few times each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

MOST_DRIVER_KILLS = 3


@pytest.fixture(scope="module")
def faults(benchmark_scripts: None) -> Any:
    """The script; benchmarks are no package."""
    import faults

    return faults


@pytest.mark.parametrize("name", ["drivers", "workers", "forkservers", "disk", "connections"])
def test_field_finished_trials_survive_faults(faults: Any, name: str, tmp_path: Path) -> None:
    directory = tmp_path / name
    directory.mkdir()
    result = faults.FAULTS[name](directory, MOST_DRIVER_KILLS)
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
    result = faults.exceed_memory(directory, MOST_DRIVER_KILLS)
    assert (result.changed, result.doubled, result.processes_left) == (0, 0, 0)
    assert "ended as usual" in result.then and "out_of_memory" in result.then
