"""The environment of processes that run modules of this package."""

from __future__ import annotations

import os
from pathlib import Path


def module_environment() -> dict[str, str]:
    """The environment of this process, in which autotune can be imported even if it is not
    installed, and nothing from the current folder, which can be an exported one of others."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
