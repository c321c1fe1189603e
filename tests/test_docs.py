"""The documents match the code: command reference, links, commands, scripts, packages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
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
REPOSITORY_PATH = re.compile(
    r"\b((?:alembic|autotune|benchmarks|dashboard|docs|search_spaces|tests)/[\w./-]*\w\.\w+)"
)
MAX_README_LINES = 120
ARCHITECTURE = ROOT / "docs" / "architecture.md"
LEAVES = {"domain", "errors"}
"""Packages that every other may import."""


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


def test_packages_import_what_the_architecture_page_lists() -> None:
    documented = dict(packages_of_the_page())
    code = {name: imported_packages(paths) for name, paths in package_files()}
    assert documented.keys() == code.keys()
    for name, imported in code.items():
        if documented[name] != {"all"}:
            assert imported - {name} - LEAVES == documented[name], name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = set(REPOSITORY_PATH.findall(page.read_text(encoding="utf-8")))
    missing = {path for path in named if not (ROOT / path).exists()}
    assert not missing


def test_modules_that_the_architecture_page_names_exist() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8").split("## Names")[0]
    paths = set(re.findall(r"`([\w/]+(?:\.py|/))`", text))
    assert len(paths) > 20
    bases = (ROOT, ROOT / "autotune")
    missing = {path for path in paths if not any((base / path).exists() for base in bases)}
    assert not missing


def packages_of_the_page() -> Iterator[tuple[str, set[str]]]:
    """Each package of the page's table with the packages that it may import."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    for line in text.split("<!-- packages -->")[1].split("<!-- /packages -->")[0].splitlines():
        if line.startswith("| `"):
            name, _, imported = line.strip("|").split("|")
            yield name.strip(" `"), set(re.findall(r"\w+", imported))


def package_files() -> Iterator[tuple[str, list[Path]]]:
    """Each package and top-level module of autotune, and the dashboard, with its files."""
    for path in sorted([*(ROOT / "autotune").iterdir(), ROOT / "dashboard"]):
        if path.suffix == ".py" and not path.stem.startswith("__"):
            yield path.stem, [path]
        elif path.is_dir() and list(path.glob("*.py")):
            yield path.name, sorted(path.rglob("*.py"))


def imported_packages(paths: list[Path]) -> set[str]:
    """Packages and top-level modules of autotune that ``paths`` import, inside functions too."""
    names: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
    parts = [name.split(".") for name in names]
    packages = {name for name, _ in package_files()}
    return {top[1] for top in parts if top[0] == "autotune" and len(top) > 1} & packages


@pytest.mark.parametrize("script", ["scripts/run", "scripts/test", ".ci/run"])
def test_scripts_can_be_run(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    assert path.read_text().startswith("#!")


def all_commands() -> set[str]:
    return set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
