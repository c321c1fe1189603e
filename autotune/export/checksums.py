"""Checksums of an exported folder: SHA-256 of each file, in the format of ``sha256sum --check``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from autotune.errors import UsageError

MANIFEST = "SHA256SUMS"

EXCLUDED = (MANIFEST, "metrics.json")
"""The manifest itself, and the file that every run of the script overwrites."""


def clear_export_dir(directory: Path) -> None:
    """Create ``directory``, or remove the files of an earlier export from it. Raises
    :class:`UsageError` for a folder that contains other files."""
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file", hint="name a folder: --output DIR")
    if (directory / MANIFEST).is_file():
        for name in _read_manifest(directory):
            (directory / name).unlink(missing_ok=True)
        (directory / MANIFEST).unlink()
    elif directory.is_dir() and any(directory.iterdir()):
        raise UsageError(
            f"{directory} contains files that are not from an export",
            hint="name a new folder: --output DIR",
        )
    directory.mkdir(parents=True, exist_ok=True)


def write_checksums(directory: Path) -> Sequence[Path]:
    """Write the checksums of all files in ``directory``; return all files and the manifest."""
    files = sorted(
        path
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in EXCLUDED
    )
    lines = [f"{_sha256(path)}  {path.relative_to(directory).as_posix()}\n" for path in files]
    (directory / MANIFEST).write_text("".join(lines), encoding="utf-8")
    return [*files, directory / MANIFEST]


def changed_files(directory: Path) -> list[str]:
    """Names of files that have changed or are missing since the export."""
    return [
        name
        for name, expected in _read_manifest(directory).items()
        if not (directory / name).is_file() or _sha256(directory / name) != expected
    ]


def _read_manifest(directory: Path) -> dict[str, str]:
    lines = (directory / MANIFEST).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("  ", 1) for line in lines if "  " in line)
    return {name: value for value, name in pairs if _is_inside(directory, name)}


def _is_inside(directory: Path, name: str) -> bool:
    return (directory / name).resolve().is_relative_to(directory.resolve())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
