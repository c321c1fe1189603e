"""A strategy: one setting for every lever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Value = bool | int | float | str
"""A setting of a lever."""


@dataclass(frozen=True)
class Strategy:
    """A setting for every lever: how a model is fine-tuned, not which model on which data.

    ``values`` has each lever once. Inactive levers have their default, so that two strategies that
    do the same are equal and have the same :attr:`key`.
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
        """The setting of ``lever``, or ``default`` if an older strategy does not have it."""
        return self.values.get(lever, default)

    @cached_property
    def key(self) -> str:
        """A digest (16 hex digits) that is equal for equal settings."""
        return digest(dict(self.values))

    def with_values(self, **values: Value) -> Strategy:
        """A copy with some settings replaced."""
        return Strategy({**self.values, **values})

    def differences(self, other: Strategy) -> dict[str, tuple[Value | None, Value | None]]:
        """The settings that differ, as ``{lever: (own, other)}``."""
        levers = sorted({*self.values, *other.values})
        pairs = {name: (self.values.get(name), other.values.get(name)) for name in levers}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def digest(document: Any) -> str:
    """16 hex digits of the SHA-256 of a JSON document in canonical form."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
