"""Unpacks the ZIP file of an export."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from autotune.errors import UsageError

MAX_BYTES = 8 * 2**30


def unpack(content: bytes, folder: Path, *, overwrite: bool = False) -> Sequence[Path]:
    """Write the files of an archive to ``folder``, and return their paths.

    :raises UsageError: the folder has files and not ``overwrite``; the archive is damaged, too
        large, or has a name that leads out of the folder.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="name another folder: --output DIR")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} has files", hint="name another folder: --output DIR, or use --force"
        )
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            return _extract(archive, folder)
    except zipfile.BadZipFile as error:
        raise UsageError(f"the service sent no ZIP file: {error}") from error


def _extract(archive: zipfile.ZipFile, folder: Path) -> Sequence[Path]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise UsageError(f"the archive is larger than {MAX_BYTES:,} bytes")
    root = folder.resolve()
    paths = []
    for entry in entries:
        target = (root / entry.filename).resolve()
        if not target.is_relative_to(root):
            raise UsageError(f"the archive has a file outside of its folder: {entry.filename!r}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(archive.read(entry))
        paths.append(folder / entry.filename)
    return paths
