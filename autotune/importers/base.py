"""What the readers of trainers' configurations share."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autotune.domain import Value
from autotune.domain.text import shorten
from autotune.export.hf_trainer import OPTIMIZERS

MAX_NUMBER = 1_000_000_000

NO_LEVER = "no lever corresponds to it"

RECORDED_GRAPHS = (
    "set compile: cuda-graphs together with padding: fixed and no parallelism; the file does not "
    "give the padding"
)
"""A study file that records CUDA graphs without both is not valid."""

SGD_WITHOUT_MOMENTUM = (
    "is SGD without momentum; trials use 0.9, with which a learning rate acts ten times as much"
)

OPTIMIZER_LEVERS = {
    **{name: lever for lever, name in OPTIMIZERS.items()},
    "adamw_torch": "adamw",
    "AdamW": "adamw-fused",
    "Adam": "adamw-fused",
    "SGD": "sgd",
}
"""Settings of the lever ``optimizer`` by the names of Trainer and DeepSpeed."""


@dataclass
class ImportedConfig:
    """A trainer's configuration: settings of levers, keys of ``task``, and the reasons why other
    settings were skipped."""

    source: str
    levers: dict[str, Value] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def set_batch_levers(
    levers: dict[str, Value], micro_batch_size: int, accumulation_steps: int
) -> None:
    """Set the levers of the batch from the size and number of micro-batches per step."""
    levers["batch_size"] = micro_batch_size * accumulation_steps
    if accumulation_steps > 1:
        levers["micro_batch_size"] = micro_batch_size


def skip_unsupported(
    config: ImportedConfig,
    prefix: str,
    options: Mapping[str, Any],
    trial_defaults: Mapping[str, Any],
) -> None:
    """Add the ``options`` that no lever corresponds to, and that differ from what every trial does
    (``trial_defaults``), to the skipped settings."""
    for key, value in options.items():
        if key in trial_defaults:
            if value not in (None, "auto", trial_defaults[key]):
                config.skipped[prefix + key] = differs_from_trials(value, trial_defaults[key])
        elif value not in (None, False, "", "no", [], {}):
            config.skipped[prefix + key] = NO_LEVER


def differs_from_trials(value: Any, default: Any) -> str:
    """The reason for skipping a setting that no lever changes."""
    return f"is {value}; trials always use {default}"


def number_or(options: Mapping[str, Any], key: str, default: float) -> float:
    """The number at ``key``, or ``default`` without one: the trainer determines it (``auto``).
    Raises :class:`ValueError` for a number that is negative or not finite."""
    value = options.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return default
    return _checked(key, value, 0)


def pop_number(
    options: dict[str, Any], key: str, default: float, *, allows_zero: bool = False
) -> float:
    """Remove ``key`` and return its number, or ``default`` for none or ``null``. Raises
    :class:`ValueError` unless it is positive, or 0 where that is allowed, and finite."""
    value = options.pop(key, None)
    if value is None:
        return default
    if isinstance(value, str):  # YAML 1.1 reads 2e-5 as text
        value = float(value) if re.fullmatch(r"[-+.0-9eE]{1,30}", value) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{key} is not a number")
    number = float(_checked(key, value, 0))
    if number == 0 and not allows_zero:
        raise ValueError(f"{key} is 0, not a positive number")
    return number


def pop_int(options: dict[str, Any], key: str, default: int, minimum: int = 0) -> int:
    """Remove ``key`` and return its whole number, or ``default`` for none or ``null``. Raises
    :class:`ValueError` for another value."""
    value = options.pop(key, None)
    if value is None:
        return default
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,9}", value, re.ASCII):
        value = int(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"{key} is {shorten(repr(value))}, not a whole number")
    return int(_checked(key, value, minimum))


def section(options: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping at ``key``; empty for none. Raises :class:`ValueError` for another value."""
    value = options.get(key)
    if value in (None, ""):
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} is {shorten(repr(value))}, not a mapping")
    return value


def _checked(key: str, value: float, minimum: int) -> float:
    if not math.isfinite(value) or not minimum <= value <= MAX_NUMBER:
        raise ValueError(f"{key} is {shorten(repr(value))}, not a number from {minimum}")
    return value
