"""The script that Streamlit runs. It finds the package that it belongs to and hands over."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def _package() -> str:
    """``autotune._dashboard`` where installed, ``dashboard`` in the repository."""
    if _HERE.name == "_dashboard":
        return "autotune._dashboard"
    if str(_HERE.parent) not in sys.path:
        sys.path.append(str(_HERE.parent))
    return _HERE.name


importlib.import_module(f"{_package()}.app").main()
