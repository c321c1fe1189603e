"""Writing an export in a process of its own.

An export may copy a model of a hundred megabytes and needs torch to do so. The server itself loads
neither: it runs the command line's own ``export``, and keeps the folder on disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import streamlit as st

from autotune.errors import ExecutionError

TIMEOUT_SECONDS = 600
FOLDERS_HELD = 8


@dataclass(frozen=True)
class Exported:
    """A folder as an exporter wrote it; it goes when nobody holds it any more."""

    scratch: TemporaryDirectory[str]

    @property
    def folder(self) -> Path:
        return Path(self.scratch.name) / "export"

    @property
    def files(self) -> Sequence[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def zipped(self, name: str) -> bytes:
        """All files below a folder called ``name``."""
        target = Path(self.scratch.name) / "export.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in self.files:
                archive.write(path, f"{name}/{path.relative_to(self.folder)}")
        return target.read_bytes()


@st.cache_resource(show_spinner="Writing the files", max_entries=FOLDERS_HELD)
def exported(storage: str, study: str, number: int, target: str) -> Exported:
    """The export of one trial in one format. A finished trial never changes, so it is kept."""
    made = Exported(TemporaryDirectory(prefix="autotune-export-", ignore_cleanup_errors=True))
    run_export(storage, study, number, target, made.folder)
    return made


def run_export(storage: str, study: str, number: int, target: str, folder: Path) -> None:
    """Run ``autotune export``. :class:`ExecutionError` with its own words where it fails."""
    flags = ["--trial", str(number), "--to", target, "--output", str(folder)]
    command = [sys.executable, "-m", "autotune", "export", *flags, "--", study]
    try:
        ran = subprocess.run(
            command,
            env={**os.environ, "AUTOTUNE_STORAGE": storage},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ExecutionError(f"the export took more than {TIMEOUT_SECONDS} s") from error
    if ran.returncode != 0:
        raise ExecutionError("the export failed", hint=ran.stderr.strip()[-2000:] or None)
