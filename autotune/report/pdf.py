"""A report as PDF, printed by a browser that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from autotune.errors import ExecutionError, UsageError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
SECONDS = 120


def print_pdf(html: str, target: Path) -> None:
    """Print the page ``html`` to ``target``. Raises :class:`UsageError` without a browser and
    :class:`ExecutionError` where it fails."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise UsageError(
            "printing a PDF needs Chromium or Chrome, and none is on PATH",
            hint="install one, or write --format html and print it from your browser",
        )
    with tempfile.TemporaryDirectory(prefix="autotune-report-") as scratch:
        page = Path(scratch) / "report.html"
        page.write_text(html, encoding="utf-8")
        # Chromium's sandbox does not start for root, which containers often are.
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            *root,
            f"--user-data-dir={scratch}/profile",
            "--no-pdf-header-footer",
            "--virtual-time-budget=10000",
            f"--print-to-pdf={target.absolute()}",
            page.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode != 0 or not target.is_file():
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ExecutionError(f"{browser} could not print the report: {' '.join(last)}")
