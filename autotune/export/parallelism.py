"""The lever ``parallelism`` as trainers need it."""

from __future__ import annotations

from collections.abc import Mapping

from autotune.domain import Strategy
from autotune.levers.parallelism import Layout, layout


def layout_of(strategy: Strategy) -> Layout:
    """How the strategy's processes are laid out."""
    return layout(strategy.get("parallelism", "none"))


def kinds(strategy: Strategy) -> Mapping[str, int]:
    """Degrees by kind: ``{}`` for one process, ``{"ddp": 2, "tp": 2}`` for ``ddp:2 x tp:2``."""
    found = layout_of(strategy)
    pairs = ((found.data_kind, found.data), (found.model_kind, found.model))
    return {kind: degree for kind, degree in pairs if kind is not None}


def processes(strategy: Strategy) -> int:
    """Processes that the strategy runs in."""
    return layout_of(strategy).world


def replicas(strategy: Strategy) -> int:
    """Processes that share a batch."""
    return layout_of(strategy).data


def only(name: str, *able: str) -> dict[str, str]:
    """The refusal of kinds of parallelism other than ``able``."""
    kinds = ", ".join(("none", *able))
    return {"parallelism": f"{name} is written for {kinds}; torchrun runs every kind"}
