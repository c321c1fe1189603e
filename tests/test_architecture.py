"""The arrows of docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from tests.conftest import MULTI_PROCESS_TESTS, SHARED_FIXTURE_FOLDERS

ROOT = Path(__file__).parents[1]

FLOORS = {
    "errors": 0, "domain": 0, "ports": 0, "expression": 0, "space": 0, "metrics": 0,
    "constraints": 0,
    "levers": 1, "spec": 1, "hardware": 1,
    "search": 2, "execution": 2, "trial": 2, "measure": 2, "store": 2,
    "analysis": 3, "export": 3, "report": 3, "tracking": 3,
    "cli": 4, "__main__": 5,
}  # fmt: skip

SAME_FLOOR = {
    ("spec", "levers"),  # a study file sets levers
    ("trial", "measure"),  # a trial measures itself
    ("search", "analysis"),  # a search goes by the front that everybody sees
    ("execution", "trial"),  # a worker applies the allocator before the trial's first allocation
    ("export", "analysis"),  # an exported folder says what the strategy promised
    ("tracking", "analysis"),  # trackers are told the front
    ("report", "analysis"),  # a report says what analysis finds
}

ONLY_HOME = {
    "optuna": {"search", "analysis", "export"},
    "ray": {"execution", "export"},
    "streamlit": {"dashboard"},
}
"""Packages that one room hides from all others; ``analysis`` asks Optuna for importances, and
``export`` writes an Optuna study and a script for Ray Train."""


def modules(folder: str) -> Iterator[Path]:
    yield from sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a module imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _modules_of(path: Path, known: Collection[str]) -> Iterator[str]:
    """Modules that ``path`` imports; ``from package import module`` counts as the module alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in full if name in known)
            if node.module in known and not all(name in known for name in full):
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


def room(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0] if relative.parts[0] != "autotune" else Path(relative.parts[1]).stem


@pytest.mark.parametrize("path", [*modules("autotune")], ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "autotune" or len(parts) < 2 or parts[1] not in FLOORS:
            continue
        there = parts[1]
        if there == here or (here, there) in SAME_FLOOR or FLOORS[here] == 0 == FLOORS[there]:
            continue
        assert FLOORS[there] < FLOORS[here], f"{here} must not import {there} ({name})"


def test_every_room_has_a_floor() -> None:
    rooms = {room(path) for path in modules("autotune")} - {"__init__"}
    assert rooms <= FLOORS.keys(), f"rooms without a floor: {rooms - FLOORS.keys()}"


@pytest.mark.parametrize(("package", "homes"), ONLY_HOME.items())
def test_foreign_packages_stay_in_their_room(package: str, homes: set[str]) -> None:
    for path in [*modules("autotune"), *modules("dashboard")]:
        if any(name.split(".")[0] == package for name in imports(path)):
            assert room(path) in homes, f"{path} imports {package}"


def test_domain_stands_on_the_standard_library() -> None:
    for name in ("domain", "errors", "ports"):
        paths = [ROOT / "autotune" / f"{name}.py", *modules(f"autotune/{name}")]
        for imported in (i for path in paths if path.is_file() for i in imports(path)):
            top = imported.split(".")[0]
            assert top == "autotune" or top in sys.stdlib_module_names


def test_there_is_no_import_cycle() -> None:
    paths = {_dotted(path): path for path in modules("autotune")}
    graph = {name: set(_modules_of(path, paths.keys())) for name, path in paths.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module in done:
            return
        for name in graph[module]:
            visit(name, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("heavy", ["torch", "ray", "streamlit", "transformers", "optuna"])
def test_the_command_line_starts_light(heavy: str) -> None:
    code = f"import sys, autotune.cli; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_alembic_folder_does_not_shadow_the_library() -> None:
    assert not list((ROOT / "alembic").rglob("__init__.py"))


def test_modules_stay_small_enough_to_feel_at_home() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("autotune", "dashboard")
        for path in modules(folder)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long, f"modules past 400 lines: {long}"


def test_tests_that_are_kept_together_are_where_they_are_looked_for() -> None:
    assert all((ROOT / path).exists() for path in (*MULTI_PROCESS_TESTS, *SHARED_FIXTURE_FOLDERS))
