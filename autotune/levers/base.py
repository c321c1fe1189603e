"""What a lever is: a name, what it may be set to, what it costs to be wrong about it.

Levers are declared here as data, without torch; ``autotune/trial`` holds what they do. A lever is
added by declaring it in one file of this folder and applying it in one file of ``trial``; a test
keeps the two in step.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from autotune.domain import Categorical, Host, Range, Value
from autotune.domain.search_space import contains


class Influence(StrEnum):
    """What a lever changes. Trials that agree on all accuracy levers share a training run."""

    SPEED = "speed"
    MEMORY = "memory"
    ACCURACY = "accuracy"


SPEED, MEMORY, ACCURACY = Influence.SPEED, Influence.MEMORY, Influence.ACCURACY


@dataclass(frozen=True)
class Pattern:
    """Text of a given form, such as ``cuda:1``; ``example`` is shown where it does not fit."""

    regex: str
    example: str


Default = Value | Callable[[Host], Value]


def _anything(host: Host, value: Value) -> str | None:
    return None


@dataclass(frozen=True)
class Lever:
    """One thing that can be set.

    ``domain`` is all that is legal on any machine; ``words`` are named settings beside a numeric
    range. ``unavailable(host, value)`` says why this machine cannot run a legal value, ``None``
    where it can. ``auto(host)`` is what is worth searching; without it, all that is available.
    ``when`` is the condition under which the lever matters at all.
    """

    name: str
    summary: str
    domain: Categorical | Range | Pattern
    default: Default
    influences: frozenset[Influence]
    named_values: tuple[str, ...] = ()
    when: str | None = None
    unavailable: Callable[[Host, Value], str | None] = _anything
    auto: Callable[[Host], Categorical | Range] | None = None

    def default_on(self, host: Host) -> Value:
        return self.default(host) if callable(self.default) else self.default

    def is_legal(self, value: Value) -> bool:
        """Whether the value means something for this lever, on whatever machine."""
        if value in self.named_values and isinstance(value, str):
            return True
        if isinstance(self.domain, Pattern):
            return isinstance(value, str) and re.fullmatch(self.domain.regex, value) is not None
        if isinstance(self.domain, Categorical):
            return any(value == v and type(value) is type(v) for v in self.domain.values)
        whole = not self.domain.integer or (isinstance(value, int | float) and value == int(value))
        return not isinstance(value, bool) and whole and contains(self.domain, value)

    def describe(self) -> str:
        """The legal settings in words."""
        if isinstance(self.domain, Pattern):
            text = f"such as {self.domain.example}"
        elif isinstance(self.domain, Categorical):
            text = ", ".join(_shown(value) for value in self.domain.values)
        else:
            kind = "whole number" if self.domain.integer else "number"
            text = f"{kind} from {self.domain.low:g} to {self.domain.high:g}"
        return " or ".join([text, *self.named_values])

    def candidates(self, host: Host) -> Categorical | Range:
        """What ``auto`` means on this machine."""
        offered: Categorical | Range
        if self.auto is not None:
            offered = self.auto(host)
        elif isinstance(self.domain, Pattern):
            offered = Categorical((self.default_on(host),))
        else:
            offered = self.domain
        if isinstance(offered, Range):
            return offered
        return Categorical(tuple(v for v in offered.values if self.unavailable(host, v) is None))


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def influences(*which: Influence) -> frozenset[Influence]:
    return frozenset(which)
