"""The documentation names every format and every tracker."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.export import EXPORTERS
from autotune.tracking import TRACKERS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_format_is_described(name: str) -> None:
    text = (DOCS / "exporters/index.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in text


@pytest.mark.parametrize("name", EXPORTERS)
def test_the_command_line_names_every_format(name: str) -> None:
    assert name in (DOCS / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TRACKERS)
def test_every_tracker_is_described(name: str) -> None:
    assert f"| `{name}` |" in (DOCS / "report.md").read_text(encoding="utf-8")
