"""Checksums of an exported folder: SHA-256 of each file, in the format of ``sha256sum --check``.

The first line marks the manifest, and so the folder, as one of autotune. It is a comment for
``sha256sum``. Only files in the manifest belong to the export.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from autotune.errors import UsageError

MANIFEST = "SHA256SUMS"

MARKER = "# The files of an autotune export. The next export to this folder replaces them."
INCOMPLETE = "# An autotune export that was interrupted. Export again."

CODE_SUFFIXES = frozenset({".py", ".pyc", ".so", ".pth"})

Manifest = Mapping[str, Collection[str]]
"""Checksums by path in the folder. A file of an interrupted export has two: its old and its new
one."""


def checksums(directory: Path) -> Manifest:
    """The checksums of all files in ``directory``."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): (_sha256(path),) for path in paths}


def write_manifest(directory: Path, manifest: Manifest, marker: str = MARKER) -> None:
    """Replace the manifest of ``directory`` in one step."""
    lines = [f"{value}  {name}\n" for name in sorted(manifest) for value in manifest[name]]
    temporary = directory / f".{MANIFEST}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    with temporary.open("x", encoding="utf-8") as file:
        file.write(f"{marker}\n{''.join(lines)}")
    temporary.replace(directory / MANIFEST)


def read_manifest(directory: Path) -> Manifest | None:
    """The manifest of an export; ``None`` without one that autotune has written. Paths that lead
    out of the folder are left out."""
    path = directory / MANIFEST
    if path.is_symlink() or not path.is_file():
        return None
    marker, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    if marker not in (MARKER, INCOMPLETE):
        return None
    manifest: dict[str, list[str]] = defaultdict(list)
    for value, separator, name in (line.partition("  ") for line in lines):
        if separator and name and is_inside(directory, name):
            manifest[name].append(value)
    return dict(manifest)


def add_files(directory: Path, paths: Iterable[Path]) -> None:
    """Add ``paths``, files in ``directory``, to its manifest."""
    added = {path.relative_to(directory).as_posix(): (_sha256(path),) for path in paths}
    write_manifest(directory, {**(read_manifest(directory) or {}), **added})


def changed_files(directory: Path) -> list[str]:
    """Names of files that have changed or are missing since the export, and of code that was added.
    Raises :class:`UsageError` for a folder without a manifest of autotune, or with that of an
    interrupted export."""
    manifest = read_manifest(directory)
    if manifest is None or _is_incomplete(directory):
        problem = (
            "no manifest of this version of autotune, so changes cannot be detected"
            if manifest is None
            else "an export to this folder was interrupted"
        )
        raise UsageError(
            f"{directory / MANIFEST}: {problem}",
            hint=f"export again: autotune export STUDY --output {directory}",
        )
    changed = [name for name in manifest if not is_unchanged(directory, name, manifest)]
    return changed + [f"{name} (added)" for name in _added_code(directory, manifest)]


def is_unchanged(directory: Path, name: str, manifest: Manifest) -> bool:
    """Whether a file of ``directory`` is a regular file with a checksum of ``manifest``."""
    path = directory / name
    return path.is_file() and not path.is_symlink() and _sha256(path) in manifest[name]


def is_inside(directory: Path, name: str) -> bool:
    """Whether the folder of the file ``name`` is in ``directory``, after links."""
    parent = (directory / name).parent.resolve()
    return parent.is_relative_to(directory.resolve()) and Path(name).name not in ("", "..")


def _is_incomplete(directory: Path) -> bool:
    return (directory / MANIFEST).read_text("utf-8", errors="replace").startswith(INCOMPLETE)


def _added_code(directory: Path, manifest: Manifest) -> list[str]:
    """Python files next to those of the export, which its script could import instead."""
    paths = (
        *directory.glob("*"), *directory.glob("*/__init__.py"), *(directory / "tuned").rglob("*"),
    )  # fmt: skip
    names = (
        path.relative_to(directory).as_posix()
        for path in sorted(paths)
        if path.suffix in CODE_SUFFIXES and "__pycache__" not in path.parts
    )
    return [name for name in dict.fromkeys(names) if name not in manifest]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
