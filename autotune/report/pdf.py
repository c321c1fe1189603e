"""A report as PDF, printed by an installed browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from autotune.errors import ExecutionError, UsageError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
TIMEOUT_SECONDS = 120


def print_pdf(html: str, target: Path) -> None:
    """Print the page ``html`` to ``target``. Raises :class:`UsageError` if there is no browser and
    :class:`ExecutionError` if it fails."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise UsageError(
            "printing a PDF needs Chromium or Chrome, and none is on PATH",
            hint="install one, or use --format html and print that in a browser",
        )
    with tempfile.TemporaryDirectory(prefix="autotune-report-") as scratch:
        page = Path(scratch) / "report.html"
        page.write_text(html, encoding="utf-8")
        # Chromium's sandbox does not start for root, the user of many containers.
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            *sandbox,
            f"--user-data-dir={scratch}/profile",
            "--no-pdf-header-footer",
            "--virtual-time-budget=10000",
            f"--print-to-pdf={target.absolute()}",
            page.as_uri(),
        ]
        process = subprocess.run(command, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    if process.returncode != 0 or not target.is_file():
        last_line = process.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ExecutionError(f"{browser} could not print the report: {' '.join(last_line)}")
