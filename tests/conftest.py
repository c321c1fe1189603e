"""Skip GPU tests without a CUDA device, and distribute tests over the processes of pytest-xdist."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""Device files of NVIDIA's driver, and of Windows' for Linux."""

MULTI_PROCESS_TESTS = (
    "tests/execution/",
    "tests/tuner/test_drivers_killed.py",
    "tests/tuner/test_field_faults.py",
    "tests/trial/test_distributed.py",
)
"""Tests that start several processes or a Ray cluster. They run one at a time."""

MULTI_PROCESS_SCOPE = "multi-process"

SHARED_FIXTURE_FOLDERS = ("tests/cli/", "tests/dashboard/", "tests/store/")
"""Folders whose files share an expensive fixture: a search, a browser, a server."""


BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark_scripts() -> Iterator[None]:
    """Makes the scripts of the benchmarks importable. One of them has the name of a package of the
    project, so that their folder is on the import path only where it is needed."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def pytest_configure() -> None:
    """Searches of this process do not wait for those of other tests on the host, and its threads
    that wait for each other leave their cores to those of the other process."""
    os.environ["AUTOTUNE_LOCKS"] = tempfile.mkdtemp(prefix="autotune-locks-")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes of pytest-xdist
        items.sort(key=lambda item: xdist_scope(item.nodeid) != MULTI_PROCESS_SCOPE)
    if any(map(Path.exists, GPU_DEVICES)) and _finds_gpu():
        return
    needs_gpu = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("gpu") is not None:
            item.add_marker(needs_gpu)


def _finds_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def xdist_scope(nodeid: str) -> str:
    """The scope of a test. All tests of a scope run in one process; most scopes are a file."""
    if nodeid.startswith(MULTI_PROCESS_TESTS):
        return MULTI_PROCESS_SCOPE
    folders = (folder for folder in SHARED_FIXTURE_FOLDERS if nodeid.startswith(folder))
    return next(folders, nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n 2`` one process runs the multi-process tests, which are half of the work, and the
    other process runs the tests that need a single core."""
    from xdist.scheduler import LoadScopeScheduling

    class ByScope(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return xdist_scope(nodeid)

    config.option.loadscopereorder = False  # keep the order above instead of largest scope first
    return ByScope(config, log)
