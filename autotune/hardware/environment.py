"""The hardware and software on which a study runs, stored with its results."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from autotune.domain import Host

PACKAGES = ("autotune", "torch", "transformers", "optuna", "numpy", "datasets", "ray")


def environment(host: Host) -> Mapping[str, Any]:
    """Hardware, fingerprint, versions and the git commit of the working directory."""
    return {
        "fingerprint": host.fingerprint,
        "hardware": asdict(host),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": versions(),
        "git_commit": git_commit(Path.cwd()),
    }


def versions() -> dict[str, str]:
    """The installed versions of the packages that can affect results."""
    installed: dict[str, str] = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def git_commit(directory: Path) -> str | None:
    """The commit that is checked out; ``None`` outside a repository or without git."""
    try:
        process = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=directory, capture_output=True, text=True, check=True, timeout=5,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()
