"""A strategy: one complete setting of every lever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Value = bool | int | float | str
"""One setting of one lever."""


@dataclass(frozen=True)
class Strategy:
    """One complete setting of every lever: how a model is fine-tuned, never what is fine-tuned.

    ``values`` names each lever once. Levers that a condition switches off hold their default, so
    two strategies that would do the same work are equal and have the same :attr:`key`.
    """

    values: Mapping[str, Value]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", dict(sorted(self.values.items())))

    def __getitem__(self, lever: str) -> Value:
        return self.values[lever]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __hash__(self) -> int:
        return hash(self.key)

    def get(self, lever: str, default: Value) -> Value:
        """The setting of ``lever``, or ``default`` where an older strategy does not know it."""
        return self.values.get(lever, default)

    @cached_property
    def key(self) -> str:
        """A short digest (16 hex digits) that is the same wherever the settings are the same."""
        return digest(dict(self.values))

    def with_values(self, **values: Value) -> Strategy:
        """This strategy with some levers set otherwise."""
        return Strategy({**self.values, **values})

    def differences(self, other: Strategy) -> dict[str, tuple[Value | None, Value | None]]:
        """Levers set differently, as ``{lever: (here, there)}``."""
        levers = sorted({*self.values, *other.values})
        pairs = {name: (self.values.get(name), other.values.get(name)) for name in levers}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def digest(document: Any) -> str:
    """16 hex digits of the SHA-256 of a JSON document in canonical form."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
