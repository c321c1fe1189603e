"""The documents match the code: command reference, links, anchors, commands and scripts."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import typer.main

from autotune.cli.app import app
from tests.cli import reference

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
MAX_README_LINES = 120


def test_the_command_reference_is_up_to_date() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == reference.text(), "python -m tests.cli.reference > docs/cli.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to {target}#{anchor}"


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def test_commands_in_the_readme_exist() -> None:
    text = README.read_text(encoding="utf-8")
    commands = set(re.findall(r"^\s*(?:\$ )?autotune ([a-z-]+)", text, re.MULTILINE))
    assert commands
    assert commands <= all_commands()


def test_the_readme_lists_every_command() -> None:
    section = README.read_text(encoding="utf-8").split("## Commands")[1].split("\n## ")[0]
    assert set(re.findall(r"`([a-z-]+)`", section)) == all_commands()


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def test_scripts_behind_the_figures_exist() -> None:
    page = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    scripts = set(re.findall(r"`((?:benchmarks|scripts)/[\w./]+)`", page))
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)


@pytest.mark.parametrize("script", ["scripts/run", "scripts/test", ".ci/run"])
def test_scripts_can_be_run(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    assert path.read_text().startswith("#!")


def all_commands() -> set[str]:
    return set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
