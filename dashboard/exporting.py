"""Exports for download, written by ``autotune export`` in a process of its own.

An export can copy a model of a hundred megabytes and needs torch for that. The server loads
neither: it keeps the folder on disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import streamlit as st

from autotune.errors import ExecutionError

TIMEOUT_SECONDS = 600
MAX_FOLDERS = 8


@dataclass(frozen=True)
class ExportFolder:
    """A folder that an exporter wrote. It is deleted with this object."""

    scratch: TemporaryDirectory[str]

    @property
    def folder(self) -> Path:
        return Path(self.scratch.name) / "export"

    @property
    def files(self) -> Sequence[Path]:
        return sorted(
            path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink()
        )

    def zipped(self, name: str) -> bytes:
        """A zip file with all files in a folder called ``name``."""
        target = Path(self.scratch.name) / "export.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in self.files:
                archive.write(path, f"{name}/{path.relative_to(self.folder)}")
        return target.read_bytes()


@st.cache_resource(show_spinner="Writing the files", max_entries=MAX_FOLDERS)
def export_trial(
    storage: str, study: str, number: int, target: str, finished_at: datetime | None
) -> ExportFolder:
    """The export of one trial in one format. Cached, since a finished trial never changes; that of
    another study of this name ended at another time."""
    export = ExportFolder(TemporaryDirectory(prefix="autotune-export-", ignore_cleanup_errors=True))
    run_export(storage, study, number, target, export.folder)
    return export


def run_export(storage: str, study: str, number: int, target: str, folder: Path) -> None:
    """Run ``autotune export``. Raises :class:`ExecutionError` with its output if it fails."""
    flags = ["--trial", str(number), "--to", target, "--output", str(folder)]
    command = [sys.executable, "-m", "autotune", "export", *flags, "--", study]
    try:
        process = subprocess.run(
            command,
            env={**os.environ, "AUTOTUNE_STORAGE": storage},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ExecutionError(f"the export took more than {TIMEOUT_SECONDS} s") from error
    if process.returncode != 0:
        raise ExecutionError("the export failed", hint=process.stderr.strip()[-2000:] or None)
