"""``Lever``: a tunable setting with its domain, default, availability, effect and exports.

A lever is one record in one file of this package and one line in :mod:`autotune.levers.registry`.
Records are data: this package imports no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from autotune.domain import (
    Categorical,
    ForbiddenClause,
    Host,
    Range,
    Strategy,
    Value,
    WorkloadProfile,
)
from autotune.domain.search_space import contains
from autotune.levers.model_shape import ModelShape


class Influence(StrEnum):
    """What a lever changes. Trials that agree on all accuracy levers share a training run."""

    SPEED = "speed"
    MEMORY = "memory"
    ACCURACY = "accuracy"
    SHAPE = "shape"
    """The layers of the trained model, and so the time and memory that it needs when deployed."""
    DEPLOYMENT = "deployment"
    """Everything that is measured of the deployed model, and nothing in training."""


SPEED, MEMORY, ACCURACY = Influence.SPEED, Influence.MEMORY, Influence.ACCURACY
SHAPE, DEPLOYMENT = Influence.SHAPE, Influence.DEPLOYMENT


class Stage(StrEnum):
    """Steps of model set-up, in order. The effect of a plug-in lever runs at the end of one."""

    LOAD = "load"
    """The model is loaded, in fp32, on the trial's device."""

    PRUNE = "prune"
    """Layers, heads and widths are final."""

    FREEZE = "freeze"
    """``requires_grad`` is final, activation checkpointing is on; weights are still fp32."""

    PRECISION = "precision"
    """Weights have their final data type. Compilation and parallelism follow."""


SCRIPT = "script"
"""Key of :attr:`Lever.exports`: vendored code applies the lever in the script of every format."""

LOOP = "loop"
"""The same for formats whose trainer has no training loop of its own."""

TRIAL_LOOP = "trial_loop"
"""The same for formats that run the training loop of the trial."""


@dataclass(frozen=True)
class Pattern:
    """Text of a given form, such as ``cuda:1``; ``example`` lists settings, separated by commas."""

    regex: str
    example: str


Default = Value | Callable[[Host], Value]
Availability = Callable[[Host, Value], str | None]
Workload = Callable[[ModelShape, Strategy, WorkloadProfile], ModelShape]


def _always_available(host: Host, value: Value) -> str | None:
    return None


def _nothing_forbidden(host: Host) -> Iterable[ForbiddenClause]:
    return ()


@dataclass(frozen=True)
class Lever:
    """One tunable setting.

    **Settings.** ``domain`` holds all legal values on any machine, ``named_values`` are words
    besides a numeric range. ``unavailable(host, value)`` says why a machine cannot run a legal
    value, or returns ``None``. ``auto(host)`` is the domain to search by default; without it, every
    available value. ``when`` is a condition over earlier levers; where it is false the lever keeps
    its default. ``neutral`` is the value that changes nothing, needed only if ``default`` depends
    on the host. ``forbidden`` and ``forbidden_on(host)`` are combinations that cannot work or that
    repeat another one.

    **Effect.** ``effect`` is the code that applies the lever in a trial: a function, or its dotted
    path (``module:function``), by which exports find it. With a ``stage`` it is a hook
    ``function(model, strategy, context) -> None`` that model set-up calls at the end of that stage,
    unless the setting is neutral (:mod:`autotune.trial.effects.hooks` describes ``context``).
    Without a stage, autotune's own set-up calls it by name. ``workload(shape, strategy, profile)``
    returns the shape of the model under the strategy, from which memory and operations are
    predicted; it is called unless the setting is neutral.

    **Exports.** ``exports`` maps a format name, or a group of formats (:data:`SCRIPT`,
    :data:`LOOP`, :data:`TRIAL_LOOP`), to the place where the lever is set in that format. In the
    text ``{effect}`` stands for the vendored file of ``effect``, and ``{dotted.module}`` for that
    of any module. A format that is not mentioned refuses every setting but the neutral one.
    """

    name: str
    summary: str
    domain: Categorical | Range | Pattern
    default: Default
    influences: frozenset[Influence]
    named_values: tuple[str, ...] = ()
    when: str | None = None
    unavailable: Availability = _always_available
    auto: Callable[[Host], Categorical | Range] | None = None
    neutral: Value | None = None
    forbidden: tuple[ForbiddenClause, ...] = ()
    forbidden_on: Callable[[Host], Iterable[ForbiddenClause]] = _nothing_forbidden
    effect: Callable[..., None] | str | None = None
    stage: Stage | None = None
    workload: Workload | None = None
    exports: Mapping[str, str] = field(default_factory=dict)

    def default_on(self, host: Host) -> Value:
        return self.default(host) if callable(self.default) else self.default

    def is_neutral(self, value: Value) -> bool:
        """Whether ``value`` changes nothing on any machine."""
        if self.neutral is not None or callable(self.default):
            return value == self.neutral
        return value == self.default

    def is_legal(self, value: Value) -> bool:
        """Whether ``value`` is in the domain, on any machine."""
        if value in self.named_values and isinstance(value, str):
            return True
        if isinstance(self.domain, Pattern):
            return isinstance(value, str) and re.fullmatch(self.domain.regex, value) is not None
        if isinstance(self.domain, Categorical):
            return any(value == v and type(value) is type(v) for v in self.domain.values)
        if isinstance(value, bool) or not contains(self.domain, value):
            return False
        return not self.domain.integer or (
            isinstance(value, int | float) and math.isfinite(value) and value == int(value)
        )

    def describe(self) -> str:
        """The legal settings, as text."""
        if isinstance(self.domain, Pattern):
            text = f"such as {self.domain.example}"
        elif isinstance(self.domain, Categorical):
            text = ", ".join(_format(value) for value in self.domain.values)
        else:
            number = "whole number" if self.domain.integer else "number"
            text = f"{number} from {self.domain.low:g} to {self.domain.high:g}"
        return " or ".join([text, *self.named_values])

    def candidates(self, host: Host) -> Categorical | Range:
        """The domain that ``auto`` stands for on ``host``."""
        domain: Categorical | Range
        if self.auto is not None:
            domain = self.auto(host)
        elif isinstance(self.domain, Pattern):
            domain = Categorical((self.default_on(host),))
        else:
            domain = self.domain
        if isinstance(domain, Range):
            return domain
        return Categorical(tuple(v for v in domain.values if self.unavailable(host, v) is None))


def _format(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
