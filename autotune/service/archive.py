"""Exports of trials as ZIP files."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from autotune.service.commands import run_command
from autotune.service.config import ServiceConfig


def export_archive(
    config: ServiceConfig, owner: str | None, study: str, options: Sequence[str]
) -> bytes:
    """What ``autotune export STUDY`` with ``options`` writes, as a ZIP file. It reads the data of
    the study from the folder of its ``owner``.

    :raises UsageError: with the message of the command.
    """
    with TemporaryDirectory(prefix="autotune-export-") as scratch:
        target = Path(scratch) / study
        run_command(config, owner, ["export", study, *options, "--output", str(target)])
        return _zip(target)


def _zip(folder: Path) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        if folder.is_file():
            archive.write(folder, folder.name)
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()
