"""The documentation names every format and every tracker."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.components import EXPORT_FORMATS
from autotune.domain import Value
from autotune.export.levers import unsupported_levers
from autotune.levers import LEVERS
from autotune.tracking import TRACKERS
from tests.export.test_export_levers import SCRIPTS, SETTINGS, lone

DOCS = Path(__file__).parents[2] / "docs"

SAID_AS = {
    "device": "Apple's GPUs",
    "optimizer": "fused AdamW in fp16",
    "pruning_method": "unstructured pruning",
}
"""Refusals that are not told by the name of their lever."""


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_every_format_is_described(name: str) -> None:
    text = (DOCS / "exporters/index.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in text


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(("lever", "value"), SETTINGS)
def test_every_refusal_is_described(name: str, lever: str, value: Value) -> None:
    found, strategy = SCRIPTS[name], lone(lever, value).strategy
    told = refusals(name)
    for refused in unsupported_levers(
        name, strategy, found.locations, found.unsupported, allowed=True
    ):
        # Where a lever matters only beside another, that one is refused before it.
        beside = (LEVERS[refused].when or refused).partition(" ")[0]
        words = (f"`{refused}", f"`{beside}", SAID_AS.get(refused, f"`{refused}"))
        assert any(word in told for word in words), refused


def refusals(name: str) -> str:
    """What the table of refusals says of a format."""
    text = (DOCS / "exporters/index.md").read_text(encoding="utf-8")
    table = text.partition("| | does not take |")[2].partition("\n\n")[0]
    rows = [row.split("|") for row in table.splitlines() if row.startswith("|")]
    return "".join(row[2] for row in rows if f"`{name}`" in row[1] or "all" in row[1])


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_the_command_line_names_every_format(name: str) -> None:
    assert name in (DOCS / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TRACKERS)
def test_every_tracker_is_described(name: str) -> None:
    assert f"| `{name}` |" in (DOCS / "report.md").read_text(encoding="utf-8")
