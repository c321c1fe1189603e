"""The seal of an exported folder: a SHA-256 of each file, as ``sha256sum --check`` reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from autotune.errors import UsageError

MANIFEST = "SHA256SUMS"

UNSEALED = (MANIFEST, "metrics.json")
"""The seal itself, and what every run of the script writes anew."""


def clear_export_dir(directory: Path) -> None:
    """See that ``directory`` may be written to: it is new, empty, or an earlier export, whose files
    are removed. Raises :class:`UsageError` for a folder that holds something else."""
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file", hint="name a folder: --output DIR")
    if (directory / MANIFEST).is_file():
        for name in _sums(directory):
            (directory / name).unlink(missing_ok=True)
        (directory / MANIFEST).unlink()
    elif directory.is_dir() and any(directory.iterdir()):
        raise UsageError(
            f"{directory} holds files that no export wrote", hint="name a new folder: --output DIR"
        )
    directory.mkdir(parents=True, exist_ok=True)


def seal(directory: Path) -> Sequence[Path]:
    """Write the sums of all files in ``directory`` and return the files, the sums among them."""
    files = sorted(
        path
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in UNSEALED
    )
    lines = [f"{_sha256(path)}  {path.relative_to(directory).as_posix()}\n" for path in files]
    (directory / MANIFEST).write_text("".join(lines), encoding="utf-8")
    return [*files, directory / MANIFEST]


def changed(directory: Path) -> list[str]:
    """Names of files that are no longer as they were exported, or gone."""
    return [
        name
        for name, expected in _sums(directory).items()
        if not (directory / name).is_file() or _sha256(directory / name) != expected
    ]


def _sums(directory: Path) -> dict[str, str]:
    lines = (directory / MANIFEST).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("  ", 1) for line in lines if "  " in line)
    return {name: value for value, name in pairs if _is_inside(directory, name)}


def _is_inside(directory: Path, name: str) -> bool:
    return (directory / name).resolve().is_relative_to(directory.resolve())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
