"""Each lever has a page, and the table of levers is generated from the registry.

``python -m tests.levers.test_docs`` writes the table.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.levers import LEVERS, Influence, Lever

FOLDER = Path(__file__).parents[2] / "docs" / "levers"
INDEX = FOLDER / "index.md"
START, END = "<!-- levers -->\n", "<!-- /levers -->\n"


def page(name: str) -> str:
    return "pruning.md" if name.startswith("pruning_") else f"{name}.md"


def table() -> str:
    rows = ["| lever | purpose | settings | default | influences |", "|---|---|---|---|---|"]
    return "\n".join([*rows, *(_row(lever) for lever in LEVERS.values())]) + "\n"


def _row(lever: Lever) -> str:
    is_host_dependent = callable(lever.default)
    default = "depends on the hardware" if is_host_dependent else _format(lever.default)
    influences = ", ".join(i.value for i in Influence if i in lever.influences)
    link = f"[`{lever.name}`]({page(lever.name)})"
    return f"| {link} | {lever.summary} | {lever.describe()} | {default} | {influences} |"


def _format(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("name", [n for n in LEVERS if not n.startswith("pruning_")])
def test_each_lever_has_a_page_that_names_its_settings(name: str) -> None:
    text = (FOLDER / page(name)).read_text(encoding="utf-8")
    assert text.startswith(f"# `{name}`\n")
    settings = LEVERS[name].describe().removeprefix("such as ").split(", ")
    missing = [s for s in settings for word in s.split(" or ") if f"`{word}`" not in text]
    assert " from " in settings[0] or not missing, missing


def test_pruning_has_a_page() -> None:
    assert (FOLDER / "pruning.md").is_file()


def test_each_page_belongs_to_a_lever() -> None:
    pages = {page(name) for name in LEVERS} | {"index.md"}
    assert {path.name for path in FOLDER.glob("*.md")} <= pages


def test_the_table_is_generated_from_the_registry() -> None:
    current = INDEX.read_text(encoding="utf-8").split(START)[1].split(END)[0]
    assert current == table(), "python -m tests.levers.test_docs"


if __name__ == "__main__":
    before, rest = INDEX.read_text(encoding="utf-8").split(START)
    INDEX.write_text(before + START + table() + END + rest.split(END)[1], encoding="utf-8")
