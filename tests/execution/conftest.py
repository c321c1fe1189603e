"""Puts the folder of the contract suites on the import path of tests and their workers."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
