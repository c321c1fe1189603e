"""What the readers of trainers' configurations share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autotune.domain import Value
from autotune.export.hf_trainer import OPTIMIZERS

NO_LEVER = "no lever corresponds to it"

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


def number_or(value: Any, default: float) -> float:
    """``value`` if it is a number, else ``default``: the trainer determines it (``auto``)."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default
