"""The levers ``lr_scheduler`` and ``warmup_ratio`` in the terms of Trainer.

Trials, exported scripts and imported configurations all use them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from autotune.domain.strategy import Strategy, Value

COOLDOWN_SHARE = 0.2
"""Share of the steps over which a constant rate cools down, as in Hägele et al. (2024), "Scaling
Laws and Compute-Optimal Training Beyond Fixed Training Durations"."""

POLYNOMIAL_POWER = 2.0

TRAINER_NAMES = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant",
    "constant-cooldown": "warmup_stable_decay",
    "polynomial": "polynomial",
}
"""Schedules of transformers by setting of the lever."""

SETTINGS = {
    **{name: setting for setting, name in TRAINER_NAMES.items()},
    "constant_with_warmup": "constant",
}
"""Settings of the lever by schedule of transformers."""


@dataclass(frozen=True)
class Schedule:
    """A schedule of transformers: its ``name`` for ``get_scheduler``, the warm-up in steps, and the
    arguments of its own (``lr_scheduler_kwargs``)."""

    name: str = "linear"
    warmup_steps: int = 0
    arguments: Mapping[str, Value] = field(default_factory=dict)


def schedule_of(strategy: Strategy, steps: int) -> Schedule:
    """The schedule of a training run of ``steps`` optimizer steps."""
    setting = str(strategy["lr_scheduler"])
    warmup_steps = math.ceil(float(strategy["warmup_ratio"]) * steps)
    name = TRAINER_NAMES[setting]
    if setting == "constant" and warmup_steps:
        name = "constant_with_warmup"
    return Schedule(name, warmup_steps, _arguments(setting, warmup_steps, steps))


def _arguments(setting: str, warmup_steps: int, steps: int) -> Mapping[str, Value]:
    if setting == "polynomial":
        return {"power": POLYNOMIAL_POWER, "lr_end": 0.0}
    if setting == "constant-cooldown":
        decay_steps = min(cooldown_steps(steps), steps - warmup_steps)
        return {"num_decay_steps": decay_steps, "decay_type": "linear"}
    return {}


def cooldown_steps(steps: int) -> int:
    """The last steps of a run, in which a constant rate falls to 0."""
    return math.ceil(COOLDOWN_SHARE * steps)
