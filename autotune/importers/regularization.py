"""Reads the schedule, weight decay and clipping of ``TrainingArguments``.

Defaults of Trainer are left out: they are those of every trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.domain.schedule import COOLDOWN_SHARE, POLYNOMIAL_POWER, SETTINGS, cooldown_steps
from autotune.importers.base import ImportedConfig, pop_number

DEFAULT_POWER = 1.0
"""The power of the schedule ``polynomial`` of transformers: a straight line."""

DEFAULTS: Mapping[str, Any] = {
    "lr_end": 1e-7, "num_cycles": 0.5, "min_lr_ratio": 0, "warmup_type": "linear",
}  # fmt: skip
"""Arguments of the schedules of transformers with their defaults."""


def read_regularization(config: ImportedConfig, options: dict[str, Any]) -> None:
    """Move the fields to levers. ``max_steps`` must still be in ``options``."""
    for lever, key, default in (
        ("weight_decay", "weight_decay", 0.0),
        ("gradient_clip", "max_grad_norm", 1.0),
        ("label_smoothing", "label_smoothing_factor", 0.0),
    ):
        if (value := pop_number(options, key, default, allows_zero=True)) != default:
            config.levers[lever] = value
    _read_schedule(config, options)


def _read_schedule(config: ImportedConfig, options: dict[str, Any]) -> None:
    name = str(options.pop("lr_scheduler_type", None) or "linear")
    arguments = options.pop("lr_scheduler_kwargs", None) or {}
    _read_warmup(config, options, ignored=name == "constant")
    setting = SETTINGS.get(name)
    steps = options.get("max_steps")
    if setting is None:
        config.skipped["lr_scheduler_type"] = f"the lever lr_scheduler has no setting {name}"
        return
    if not isinstance(arguments, Mapping):
        raise ValueError("lr_scheduler_kwargs is not a mapping")
    if setting == "polynomial" and arguments.get("power", DEFAULT_POWER) == DEFAULT_POWER:
        setting = "linear"
        arguments = {name: value for name, value in arguments.items() if name != "power"}
    if (reason := _differing_arguments(setting, arguments, steps)) is not None:
        config.skipped["lr_scheduler_kwargs"] = reason
    if setting != "linear":
        config.levers["lr_scheduler"] = setting


def _differing_arguments(setting: str, arguments: Mapping[str, Any], steps: Any) -> str | None:
    """Why trials follow ``setting`` otherwise than these arguments do."""
    changed = {key: value for key, value in arguments.items() if value != DEFAULTS.get(key)}
    if setting == "polynomial":
        others = {key: value for key, value in changed.items() if (key, value) != ("lr_end", 0)}
        is_equal = others == {"power": POLYNOMIAL_POWER}
        return None if is_equal else f"trials end at 0 with the power {POLYNOMIAL_POWER:g}"
    if setting == "constant-cooldown":
        expected = cooldown_steps(steps) if isinstance(steps, int) and steps > 0 else None
        is_equal = changed == {"num_decay_steps": expected, "decay_type": "linear"}
        share = f"{COOLDOWN_SHARE:.0%}"
        return None if is_equal else f"trials cool down linearly in the last {share} of the steps"
    return "trials use the defaults of this schedule" if changed else None


def _read_warmup(config: ImportedConfig, options: dict[str, Any], *, ignored: bool) -> None:
    """The warm-up, as a share of the steps or in steps. The schedule ``constant`` has none."""
    ratio = pop_number(options, "warmup_ratio", 0.0, allows_zero=True)
    warmup = pop_number(options, "warmup_steps", 0.0, allows_zero=True) or ratio
    if ignored or warmup == 0:
        return
    steps = options.get("max_steps")
    if warmup >= 1 and isinstance(steps, int) and steps > 0:
        warmup /= steps
    if warmup < 1:
        config.levers["warmup_ratio"] = round(warmup, 4)
    else:
        config.skipped["warmup_steps"] = (
            f"is {warmup:g} steps; set the lever warmup_ratio to their share of all steps"
        )
