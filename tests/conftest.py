"""Tests that need a CUDA device run where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

DRIVER = Path("/dev/nvidiactl")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if DRIVER.exists():
        return
    needs_gpu = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("gpu") is not None:
            item.add_marker(needs_gpu)
