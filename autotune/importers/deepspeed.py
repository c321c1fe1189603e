"""Reads DeepSpeed's configuration, a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.export.deepspeed import BF16_STATES
from autotune.importers.base import (
    NO_LEVER,
    OPTIMIZER_LEVERS,
    SGD_WITHOUT_MOMENTUM,
    ImportedConfig,
    number_or,
    section,
    set_batch_levers,
    skip_unsupported,
)

READ_KEYS = {
    "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps",
    "gradient_clipping", "optimizer", "fp16", "bf16", "torch_autocast", "zero_optimization",
    "steps_per_print", "wall_clock_breakdown", "dump_state",
}  # fmt: skip
"""Keys that are read, and keys that only affect what is printed."""

OPTIMIZER_DEFAULTS: Mapping[str, Any] = {
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "momentum": 0.9,
    "adam_w_mode": True,
}
"""Parameters of the optimizers of all trials; other values are skipped."""
DEFAULT_GRADIENT_CLIP = 1.0
"""The norm to which trials clip gradients by default."""


def read(document: Mapping[str, Any]) -> ImportedConfig:
    """Translate every section into levers, or skip it with a reason."""
    config = ImportedConfig("DeepSpeed's configuration")
    batch_size = int(number_or(document, "train_batch_size", 0))
    micro_batch_size = int(number_or(document, "train_micro_batch_size_per_gpu", 0))
    accumulation_steps = int(number_or(document, "gradient_accumulation_steps", 1))
    if micro_batch_size:
        set_batch_levers(config.levers, micro_batch_size, max(1, accumulation_steps))
    if batch_size:
        config.levers["batch_size"] = batch_size
        if (
            0 < micro_batch_size < batch_size
            and document.get("gradient_accumulation_steps") is None
        ):
            reason = "the file does not give the number of processes"
            config.skipped["train_micro_batch_size_per_gpu"] = reason
    _read_optimizer(config, section(document, "optimizer"))
    _read_precision(config, document)
    _read_zero(config, section(document, "zero_optimization"))
    # Without the key, DeepSpeed does not clip; auto is the default of Trainer.
    default_norm = DEFAULT_GRADIENT_CLIP if "gradient_clipping" in document else 0.0
    norm = float(number_or(document, "gradient_clipping", default_norm))
    if norm != DEFAULT_GRADIENT_CLIP:
        config.levers["gradient_clip"] = norm
    for key, value in document.items():
        if key not in READ_KEYS and value and value != {"enabled": False}:
            config.skipped[key] = NO_LEVER
    return config


def _read_optimizer(config: ImportedConfig, options: Mapping[str, Any]) -> None:
    parameters = dict(section(options, "params"))
    learning_rate = number_or(parameters, "lr", 0.0)
    parameters.pop("lr", None)
    if weight_decay := number_or(parameters, "weight_decay", 0.0):
        config.levers["weight_decay"] = float(weight_decay)
    parameters.pop("weight_decay", None)
    kind = str(options.get("type"))
    if learning_rate:
        config.levers["learning_rate"] = float(learning_rate)
    if kind in OPTIMIZER_LEVERS:
        is_unfused = parameters.pop("torch_adam", False) is True
        config.levers["optimizer"] = "adamw" if is_unfused else OPTIMIZER_LEVERS[kind]
        if kind == "SGD" and parameters.get("momentum") is None:
            config.skipped["optimizer.params.momentum"] = SGD_WITHOUT_MOMENTUM
        skip_unsupported(config, "optimizer.params.", parameters, OPTIMIZER_DEFAULTS)
    elif options:
        reason = f"the lever optimizer has no setting {kind}"
        config.skipped["optimizer"] = reason


def _read_zero(config: ImportedConfig, options: Mapping[str, Any]) -> None:
    stage = int(number_or(options, "stage", 0))
    if stage:
        reason = f"stage {stage}: the file does not give the number of processes"
        config.skipped["zero_optimization"] = reason
    for key, setting in (("offload_optimizer", "optimizer"), ("offload_param", "parameters")):
        if section(options, key).get("device", "none") != "none":
            config.levers["offload"] = setting


def _read_precision(config: ImportedConfig, document: Mapping[str, Any]) -> None:
    for key, name in (("fp16", "fp16"), ("bf16", "bf16"), ("torch_autocast", "bf16")):
        if section(document, key).get("enabled") is True:
            config.levers["precision"] = name
    # By itself, bf16 keeps weights and states of the optimizer in fp32 beside those in bf16.
    bf16 = section(document, "bf16")
    if bf16.get("enabled") is True and all(bf16.get(name) is True for name in BF16_STATES):
        config.levers["precision"] = "bf16-pure"
