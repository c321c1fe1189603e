"""Which tests run where there is a CUDA device, and which beside others where two run at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

DRIVER = Path("/dev/nvidiactl")

CROWDS = (
    "tests/execution/",
    "tests/search/test_drivers_killed.py",
    "tests/search/test_killed.py",
    "tests/trial/test_parallel.py",
)
"""Tests that start several processes, clusters of Ray among them: one after the other."""

TOGETHER = ("tests/cli/", "tests/dashboard/", "tests/store/")
"""Rooms whose files share what is slow to make: a search, a browser, a server."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes of pytest-xdist
        items.sort(key=lambda item: unit(item.nodeid) != "crowds")
    if DRIVER.exists():
        return
    needs_gpu = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("gpu") is not None:
            item.add_marker(needs_gpu)


def unit(nodeid: str) -> str:
    """What a test belongs to that one process runs from end to end: most often its file."""
    if nodeid.startswith(CROWDS):
        return "crowds"
    rooms = (room for room in TOGETHER if nodeid.startswith(room))
    return next(rooms, nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n 2`` one process takes the crowds, which are half of the work, and the other what
    needs a single core."""
    from xdist.scheduler import LoadScopeScheduling

    class ByUnit(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    config.option.loadscopereorder = False  # in the order above, not the most tests first
    return ByUnit(config, log)
