"""DeepSpeed's configuration, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.importers.base import (
    NAMED_OPTIMIZERS,
    ImportedConfig,
    batch,
    number,
    unsupported_options,
)

READ = {
    "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps",
    "gradient_clipping", "optimizer", "fp16", "bf16", "torch_autocast", "zero_optimization",
    "steps_per_print", "wall_clock_breakdown", "dump_state",
}  # fmt: skip
"""Keys that are read, and those that only say what is printed."""

OPTIMIZERS_ANYWAY: Mapping[str, Any] = {
    "weight_decay": 0.0,
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "momentum": 0.9,
    "adam_w_mode": True,
}
"""Parameters of optimizers that trials always have so; others are said to be left."""


def read(document: Mapping[str, Any]) -> ImportedConfig:
    """Every section as levers, or left with the reason."""
    found = ImportedConfig("DeepSpeed's configuration")
    whole = int(number(document.get("train_batch_size"), 0))
    micro = int(number(document.get("train_micro_batch_size_per_gpu"), 0))
    steps = document.get("gradient_accumulation_steps")
    if micro:
        batch(found.levers, micro, int(number(steps, 1)))
    if whole:
        found.levers["batch_size"] = whole
        if 0 < micro < whole and steps is None:
            found.skipped["train_micro_batch_size_per_gpu"] = "it says not over how many processes"
    optimizer = document.get("optimizer") or {}
    parameters = dict(optimizer.get("params") or {})
    rate = number(parameters.pop("lr", None), 0.0)
    if rate:
        found.levers["learning_rate"] = float(rate)
    if optimizer.get("type") in NAMED_OPTIMIZERS:
        plain = parameters.pop("torch_adam", False) is True
        found.levers["optimizer"] = "adamw" if plain else NAMED_OPTIMIZERS[optimizer["type"]]
        unsupported_options(found, "optimizer.params.", parameters, OPTIMIZERS_ANYWAY)
    elif optimizer:
        found.skipped["optimizer"] = f"there is no optimizer {optimizer.get('type')} to search"
    _precision(found, document)
    _zero(found, document.get("zero_optimization") or {})
    if number(document.get("gradient_clipping"), 0.0) != 1.0:
        found.skipped["gradient_clipping"] = "trials always have 1.0"
    for key, value in document.items():
        if key not in READ and value and value != {"enabled": False}:
            found.skipped[key] = "no lever stands for it"
    return found


def _zero(found: ImportedConfig, zero: Mapping[str, Any]) -> None:
    stage = int(number(zero.get("stage"), 0))
    if stage:
        found.skipped["zero_optimization"] = f"stage {stage}: it says not over how many processes"
    for section, setting in (("offload_optimizer", "optimizer"), ("offload_param", "parameters")):
        if (zero.get(section) or {}).get("device", "none") != "none":
            found.levers["offload"] = setting


def _precision(found: ImportedConfig, document: Mapping[str, Any]) -> None:
    for section, name in (("fp16", "fp16"), ("bf16", "bf16-pure"), ("torch_autocast", "bf16")):
        if (document.get(section) or {}).get("enabled") is True:
            found.levers["precision"] = name
