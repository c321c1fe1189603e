"""Exports of trials as ZIP files, and reports: made by the command line in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore

from autotune.errors import UsageError
from autotune.service.config import ServiceConfig
from autotune.service.dispatcher import safe_environment
from autotune.service.files import UserFolder

EXPORT_SECONDS = 300
MAX_EXPORTS = 2

_exports = BoundedSemaphore(MAX_EXPORTS)


def export_archive(
    config: ServiceConfig, owner: str | None, study: str, options: Sequence[str]
) -> bytes:
    """What ``autotune export STUDY`` with ``options`` writes, as a ZIP file. It reads the data of
    the study from the folder of its ``owner``.

    :raises UsageError: with the message of the command.
    """
    with TemporaryDirectory(prefix="autotune-export-") as scratch:
        target = Path(scratch) / study
        command = [sys.executable, "-m", "autotune", "export", study, *options,
                   "--output", str(target)]  # fmt: skip
        with _exports, _working_directory(config, owner) as folder:
            done = subprocess.run(
                command, cwd=folder, env=safe_environment(config), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=EXPORT_SECONDS, check=False,
            )  # fmt: skip
        if done.returncode != 0:
            raise _command_error(done.stderr)
        return _zip(target)


@contextmanager
def _working_directory(config: ServiceConfig, owner: str | None) -> Iterator[Path]:
    if owner is not None:
        yield UserFolder.of_user(config.folder, owner).path
        return
    with TemporaryDirectory() as empty:
        yield Path(empty)


def _command_error(stderr: str) -> UsageError:
    """The message and the hint that a command printed."""
    message, _, hint = stderr.rpartition("error:")[2].partition("\nhint:")
    return UsageError(" ".join(message.split()), hint=" ".join(hint.split()) or None)


def _zip(folder: Path) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        if folder.is_file():
            archive.write(folder, folder.name)
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()
