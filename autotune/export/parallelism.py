"""The lever ``parallelism`` as trainers need it: kinds and degrees."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from autotune.domain import Strategy

DATA_PARALLEL = ("ddp", "fsdp", "zero1")
"""Kinds whose processes share a batch."""


def kinds(strategy: Strategy) -> Mapping[str, int]:
    """Degrees by kind: ``{}`` for one process, ``{"ddp": 2, "tp": 2}`` for ``ddp:2 x tp:2``."""
    text = str(strategy.get("parallelism", "none"))
    return {kind: int(degree) for kind, degree in re.findall(r"([a-z0-9]+):(\d+)", text)}


def processes(strategy: Strategy) -> int:
    """Processes that the strategy runs in."""
    return math.prod(kinds(strategy).values())


def replicas(strategy: Strategy) -> int:
    """Processes that share a batch."""
    found = kinds(strategy)
    return math.prod(found.get(kind, 1) for kind in DATA_PARALLEL)


def only(name: str, *able: str) -> dict[str, str]:
    """Why the format ``name`` refuses kinds of parallelism other than ``able``: for messages."""
    return {"parallelism": f"{name} runs {', '.join(('none', *able))} alone"}
