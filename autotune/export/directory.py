"""Replaces the content of an exported folder, and nothing else in it.

An export is written to a hidden folder inside of the target. Its files are moved into place when it
is complete, so an export that fails or is killed leaves the earlier one as it was. What autotune
has not written stays: files that are not in the manifest of the earlier export, and targets of
links.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from autotune.errors import UsageError
from autotune.export import checksums
from autotune.export.checksums import INCOMPLETE, MANIFEST, Manifest

STAGING_PREFIX = ".autotune-export-"
STALE_SECONDS = 86_400.0
"""Age from which the hidden folder of an interrupted export is removed."""

TRAINED_RESULTS = ("trained", "checkpoints", "lightning_logs", "ray")
"""What a run of the script writes and takes long to train: replaced with ``overwrite`` only."""

METRICS, VERIFY_LOG = "metrics.json", "verify.log"
"""What a run writes about an earlier export. A new one removes them."""


@contextmanager
def replaced_export(directory: Path, overwrite: bool = False) -> Iterator[Path]:
    """A new folder to write an export to. When the block ends, its files replace those of an
    earlier export in ``directory``.

    Raises :class:`UsageError` before the block for a folder that contains other files and no
    export; for one whose exported files have been edited or which contains a trained model, unless
    ``overwrite``; and for one in which links lead elsewhere.
    """
    earlier = _require_replaceable(directory, overwrite)
    is_new = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    _remove_stale_staging(directory)
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=directory))
    try:
        yield staging
        _move_into_place(staging, directory, earlier)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new:
            with suppress(OSError):
                directory.rmdir()  # only if nothing was written


def exported_files(directory: Path) -> Sequence[Path]:
    """All files of the export in ``directory``, and the manifest."""
    return [*(directory / name for name in checksums.read_manifest(directory) or {}),
            directory / MANIFEST]  # fmt: skip


def _require_replaceable(directory: Path, overwrite: bool) -> Manifest:
    """The manifest of the earlier export in ``directory``; empty for a new or empty folder."""
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file", hint="name a folder: --output DIR")
    if not directory.exists():
        return {}
    earlier = checksums.read_manifest(directory)
    if earlier is None:
        if any(not path.name.startswith(STAGING_PREFIX) for path in directory.iterdir()):
            raise UsageError(
                f"{directory} contains files that are not from an export of this version",
                hint="name a new folder: --output DIR",
            )
        return {}
    for name in (METRICS, VERIFY_LOG):
        require_no_folder(directory / name)
    edited = [
        name
        for name in earlier
        if (directory / name).exists() and not checksums.is_unchanged(directory, name, earlier)
    ]
    paths = [directory / name for name in TRAINED_RESULTS]
    results = [path.name + "/" * path.is_dir() for path in paths if os.path.lexists(path)]
    if (edited or results) and not overwrite:
        problems = [
            *([f"has files changed since the export ({', '.join(edited[:5])})"] if edited else []),
            *([f"contains results of a run ({', '.join(results)})"] if results else []),
        ]
        raise UsageError(
            f"{directory} {' and '.join(problems)}",
            hint="name a new folder: --output DIR; or replace them: --force",
        )
    return earlier


def _move_into_place(staging: Path, directory: Path, earlier: Manifest) -> None:
    """Move all files of ``staging`` to ``directory``. Until the end the manifest lists the earlier
    and the new files, so that an interrupted move can be repeated."""
    files = checksums.checksums(staging)
    manifest = {name: files[name] for name in files if name != MANIFEST}  # a service adds its own
    for name in manifest:
        _require_no_links(directory, name)
        if (directory / name).is_dir() and not (directory / name).is_symlink():
            raise UsageError(
                f"{directory / name} is a folder where the export writes a file",
                hint="name a new folder: --output DIR",
            )
        if name not in earlier and (directory / name).exists():
            raise UsageError(
                f"{directory / name} is in the way: it is not from the earlier export",
                hint="name a new folder: --output DIR",
            )
    both = {n: (*earlier.get(n, ()), *manifest.get(n, ())) for n in {**earlier, **manifest}}
    checksums.write_manifest(directory, both, INCOMPLETE)
    for name in manifest:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(directory / name)
    for name in earlier.keys() - manifest.keys():
        _remove_file(directory, name)
    for name in (*TRAINED_RESULTS, METRICS, VERIFY_LOG):
        remove(directory / name)
    checksums.write_manifest(directory, manifest)


def _require_no_links(directory: Path, name: str) -> None:
    for parent in (directory / name).parents:
        if parent == directory:
            return
        if parent.is_symlink():
            raise UsageError(
                f"{parent} is a link to {parent.resolve()}; an export follows no links",
                hint=f"remove it: rm {parent}",
            )


def _remove_file(directory: Path, name: str) -> None:
    """Remove a file of an earlier export, and the folders that become empty."""
    path = directory / name
    if path.is_file() or path.is_symlink():
        path.unlink()
    for parent in path.parents:
        if parent == directory or parent.is_symlink():
            break
        shutil.rmtree(parent / "__pycache__", ignore_errors=True)
        with suppress(OSError):
            parent.rmdir()


def require_no_folder(path: Path) -> None:
    """Raise :class:`UsageError` for a folder in place of a file of a run, which is not ours to
    delete."""
    if path.is_dir() and not path.is_symlink():
        raise UsageError(
            f"{path} is a folder where a run writes a file", hint="move it, or name a new folder"
        )


def remove(path: Path) -> None:
    """Remove a file, a folder, or a link but not its target."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def _remove_stale_staging(directory: Path) -> None:
    for path in directory.glob(f"{STAGING_PREFIX}*"):
        with suppress(OSError):
            is_stale = time.time() - path.lstat().st_mtime > STALE_SECONDS
            if is_stale and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
