"""Copies of the modules that an exported script needs, so that it needs no autotune.

The script imports templates, these import what a trial ran. All of it is copied as it is under the
package :data:`PACKAGE`; only the names in imports (and in references of docstrings) change.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = "tuned"
TEMPLATES = "autotune.export.templates"
ROOT = Path(__file__).parents[1]
REFERENCE = re.compile(r"(autotune\.[a-z_.]+):[A-Za-z_]+")

NOTICE = '''"""What the trial ran, as autotune {version} (Apache-2.0) has it.

``trial/`` holds a file for each thing that a strategy sets; the files here put them to work.
"""
'''


def script(template: str, version: str) -> Mapping[str, str]:
    """``train.py`` from ``template`` and every module it needs, as text by path in the folder."""
    first = f"{TEMPLATES}.{template}"
    files = {"train.py": renamed(_source(first))}
    for module in sorted(needed(first) - {first}):
        files[_path(module)] = renamed(_source(module))
    for folder in {Path(name).parent for name in files} - {Path()}:
        files.setdefault(f"{folder}/__init__.py", "")
    files[f"{PACKAGE}/__init__.py"] = NOTICE.format(version=version)
    return files


def vendored_path(module: str) -> str:
    """The path in an exported folder of a module (a file) or of a package (a folder)."""
    return _path(module).removesuffix("/__init__.py")


def needed(module: str) -> set[str]:
    """Full names of all modules of autotune that ``module`` imports, itself and theirs included."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_imported(name))
    return found


def renamed(source: str) -> str:
    """``source`` with the names that its modules have in an exported folder."""
    source = re.sub(rf"\b{re.escape(TEMPLATES)}\b", PACKAGE, source)
    source = re.sub(
        r"^(\s*)from autotune import ", rf"\1from {PACKAGE} import ", source, flags=re.M
    )
    return re.sub(r"\bautotune\.(?=[a-z])", f"{PACKAGE}.", source)


def _imported(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(_source(module))):
        if isinstance(node, ast.ImportFrom) and node.module and _is_ours(node.module):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in inner if _file(name).exists()]
            yield from modules
            if len(modules) < len(inner):
                yield node.module
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # what is imported on first use: "autotune.trial.tasks.text_classification:..."
            reference = REFERENCE.fullmatch(node.value)
            if reference and _file(reference[1]).exists():
                yield reference[1]


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "autotune"


def _file(module: str) -> Path:
    """The file of ``module``, which is there for modules and packages alone."""
    path = ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _source(module: str) -> str:
    return _file(module).read_text(encoding="utf-8")


def _path(module: str) -> str:
    name = renamed(f"{module}.x").removesuffix(".x").replace(".", "/")
    return f"{name}/__init__.py" if _file(module).name == "__init__.py" else f"{name}.py"
