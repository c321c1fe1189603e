"""The documentation names every format and every tracker."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.components import EXPORT_FORMATS
from autotune.domain import Value
from autotune.export.levers import unsupported_levers
from autotune.levers import LEVERS
from autotune.tracking import TRACKERS
from tests.export.test_export_levers import SCRIPTS, SETTINGS, trial_with

DOCS = Path(__file__).parents[2] / "docs"

DESCRIPTIONS = {
    "device": "Apple's GPUs",
    "optimizer": "fused AdamW in fp16",
    "pruning_method": "unstructured pruning",
}
"""Unsupported settings that the table does not describe with the name of their lever."""


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_every_format_is_described(name: str) -> None:
    text = (DOCS / "exporters/index.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in text


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(("lever", "value"), SETTINGS)
def test_every_unsupported_setting_is_described(name: str, lever: str, value: Value) -> None:
    found, strategy = SCRIPTS[name], trial_with(lever, value).strategy
    text = unsupported_cell(name)
    for unsupported in unsupported_levers(
        name, strategy, found.locations, found.unsupported, allowed=True
    ):
        # The table names a lever, or the lever in its condition.
        parent = (LEVERS[unsupported].when or unsupported).partition(" ")[0]
        default = f"`{unsupported}"
        phrases = (default, f"`{parent}", DESCRIPTIONS.get(unsupported, default))
        assert any(phrase in text for phrase in phrases), unsupported


def unsupported_cell(name: str) -> str:
    """The text of a format in the table of unsupported settings."""
    text = (DOCS / "exporters/index.md").read_text(encoding="utf-8")
    table = text.partition("| | does not support |")[2].partition("\n\n")[0]
    rows = [row.split("|") for row in table.splitlines() if row.startswith("|")]
    return "".join(row[2] for row in rows if f"`{name}`" in row[1] or "all" in row[1])


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_the_command_line_names_every_format(name: str) -> None:
    assert name in (DOCS / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TRACKERS)
def test_every_tracker_is_described(name: str) -> None:
    assert f"| `{name}` |" in (DOCS / "report.md").read_text(encoding="utf-8")
