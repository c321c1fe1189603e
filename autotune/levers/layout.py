"""Process layouts: the settings of the lever ``parallelism``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from autotune.domain import Value

DATA_KINDS = ("ddp", "fsdp", "zero1")
MODEL_KINDS = ("tp", "pp")
HYBRIDS = (("ddp", "tp"), ("ddp", "pp"), ("fsdp", "tp"))

_DEGREE = r":(?:[2-9]|[1-9]\d{1,2})"
_KIND = "|".join((*DATA_KINDS, *MODEL_KINDS))
_PAIRS = "|".join(f"{outer}{_DEGREE} x {inner}{_DEGREE}" for outer, inner in HYBRIDS)

LAYOUT_REGEX = f"none|(?:{_KIND}){_DEGREE}|{_PAIRS}"


@dataclass(frozen=True)
class Layout:
    """``data`` replicas that each process a share of every batch, of ``model`` ranks each.

    The ranks of one replica have consecutive numbers.
    """

    data_kind: str | None = None
    data: int = 1
    model_kind: str | None = None
    model: int = 1

    @property
    def world(self) -> int:
        """Number of processes."""
        return self.data * self.model

    def __str__(self) -> str:
        axes = ((self.data_kind, self.data), (self.model_kind, self.model))
        return " x ".join(f"{kind}:{degree}" for kind, degree in axes if kind) or "none"


def layout(value: Value) -> Layout:
    """Parse a setting of ``parallelism``, such as ``ddp:2 x tp:2``."""
    degrees = {kind: int(degree) for kind, degree in re.findall(rf"({_KIND}):(\d+)", str(value))}
    data = next((kind for kind in degrees if kind in DATA_KINDS), None)
    model = next((kind for kind in degrees if kind in MODEL_KINDS), None)
    return Layout(data, degrees.get(data or "", 1), model, degrees.get(model or "", 1))


def layouts(world: int) -> Iterator[Layout]:
    """Every layout of ``world`` processes."""
    for kind in DATA_KINDS:
        yield Layout(data_kind=kind, data=world)
    for kind in MODEL_KINDS:
        yield Layout(model_kind=kind, model=world)
    for outer, inner in HYBRIDS:
        for degree in range(2, world // 2 + 1):
            if world % degree == 0:
                yield Layout(outer, degree, inner, world // degree)
