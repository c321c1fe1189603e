"""What the documents promise is there: the command reference, links, and the README's commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import readme
from tests.cli import reference

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_the_command_reference_is_up_to_date() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == reference.text(), "python -m tests.cli.reference > docs/cli.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readmes_table_of_levers_is_the_registry() -> None:
    assert readme.written() == readme.table(), "python -m tests.readme"


def test_commands_in_the_readme_exist() -> None:
    import typer.main

    from autotune.cli.app import app

    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    typed = set(re.findall(r"^\s*(?:\$ )?autotune ([a-z-]+)", text, re.MULTILINE))
    assert typed
    assert typed <= known


@pytest.mark.parametrize("script", ["scripts/run", "scripts/test", ".ci/run"])
def test_scripts_can_be_run(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    assert path.read_text().startswith("#!")
