"""The faults of ``benchmarks/faults.py``, a few times each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MOST_DRIVER_KILLS = 3


@pytest.fixture(scope="module")
def faults() -> Any:
    """The script; benchmarks are no package."""
    sys.path.insert(0, str(BENCHMARKS))
    import faults

    yield faults
    sys.path.remove(str(BENCHMARKS))


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
