"""Processes that run Python, and the environment of those that run modules of this package."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from autotune.errors import ExecutionError

MAX_SECONDS = 3600
"""A process that takes longer hangs."""


def module_environment() -> dict[str, str]:
    """The environment of this process, in which autotune can be imported even if it is not
    installed, and nothing from the current folder, which can be an exported one of others."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


def run_python(
    arguments: Sequence[str],
    name: str,
    *,
    environment: Mapping[str, str],
    folder: Path | None = None,
    hint: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run this Python with ``arguments``, in ``folder`` if it is given, and keep the errors that it
    prints. Raises :class:`ExecutionError` about ``name`` after :data:`MAX_SECONDS`."""
    try:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
            timeout=MAX_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        minutes = MAX_SECONDS // 60
        raise ExecutionError(f"{name} did not end within {minutes} minutes", hint=hint) from error
