"""The script that Streamlit runs: imports the package it belongs to and draws a page."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

_DIRECTORY = Path(__file__).resolve().parent


def _package_name() -> str:
    """``autotune._dashboard`` in a wheel, ``dashboard`` in a checkout."""
    if _DIRECTORY.name == "_dashboard":
        return "autotune._dashboard"
    if str(_DIRECTORY.parent) not in sys.path:
        sys.path.append(str(_DIRECTORY.parent))
    return _DIRECTORY.name


importlib.import_module(f"{_package_name()}.app").main()
