"""``TrainingArguments`` of Hugging Face's Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.domain import Value
from autotune.importers.base import NAMED_OPTIMIZERS, ImportedConfig, batch

IGNORED = {
    "output_dir", "use_cpu", "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm",
    "save_strategy", "eval_strategy", "logging_steps", "logging_nan_inf_filter", "report_to",
    "remove_unused_columns", "activation_checkpointing_kwargs",
    "gradient_checkpointing_kwargs", "ddp_backend",
}  # fmt: skip
"""Fields that say nothing about speed, or what every trial does anyway at these values."""

TRIAL_DEFAULTS: Mapping[str, Any] = {
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
}
"""What trials always do; another value is said to be left."""

TORCHS_BUCKET = 25
"""MiB of gradients that torch sends together where nothing is said."""


def read(document: Mapping[str, Any]) -> ImportedConfig:
    """Every field as a lever, a key of the task, or left with the reason."""
    found = ImportedConfig("TrainingArguments")
    levers, left = found.levers, dict(document)
    micro = int(left.pop("per_device_train_batch_size", 8))
    accumulation = int(left.pop("gradient_accumulation_steps", 1))
    batch(levers, micro, accumulation)
    levers["learning_rate"] = float(left.pop("learning_rate", 5e-5))
    optimizer = str(left.pop("optim", "adamw_torch_fused"))
    if optimizer in NAMED_OPTIMIZERS:
        levers["optimizer"] = NAMED_OPTIMIZERS[optimizer]
    else:
        found.skipped["optim"] = f"there is no optimizer {optimizer} to search"
    _precision(levers, left)
    if left.pop("torch_compile", False):
        levers["compile"] = True
    flags = ("activation_checkpointing", "gradient_checkpointing")
    if True in [left.pop(flag, False) for flag in flags]:
        levers["activation_checkpointing"] = True
    _sampling(found, left)
    on_cpu = bool(left.get("use_cpu"))
    if on_cpu:
        levers["device"] = "cpu"
    if left.pop("dataloader_pin_memory", True) is False and not on_cpu:
        levers["pinned_memory"] = False
    bucket = left.pop("ddp_bucket_cap_mb", None)
    if bucket not in (None, TORCHS_BUCKET):
        # Without parallelism a study file that sets it would not be valid.
        found.skipped["ddp_bucket_cap_mb"] = (
            f"is ddp_bucket_mib: {bucket} beside a parallelism; it says not over how many processes"
        )
    if workers := int(left.pop("dataloader_num_workers", 0)):
        levers["loader_workers"] = workers
        levers["prefetch"] = int(left.pop("dataloader_prefetch_factor", None) or 2)
    _length(found, left)
    _rest(found, left)
    return found


def _sampling(found: ImportedConfig, left: dict[str, Any]) -> None:
    """Batches of like length, by the name of transformers 5 or of those before."""
    sampling = left.pop("train_sampling_strategy", "random")
    grouped = left.pop("group_by_length", False)
    if grouped or sampling == "group_by_length":
        found.levers["padding"] = "bucketed"
    elif sampling != "random":
        found.skipped["train_sampling_strategy"] = f"trials do not draw examples by {sampling}"


def _precision(levers: dict[str, Value], left: dict[str, Any]) -> None:
    for name in ("fp16", "bf16", "tf32"):
        if left.pop(name, False):
            levers["precision"] = name


def _length(found: ImportedConfig, left: dict[str, Any]) -> None:
    steps, epochs = left.pop("max_steps", -1), left.pop("num_train_epochs", 3.0)
    if steps and steps > 0:
        found.task["steps"] = int(steps)
    else:
        found.task["epochs"] = float(epochs)
    if "seed" in left:
        found.task["seed"] = int(left.pop("seed"))


def _rest(found: ImportedConfig, left: Mapping[str, Any]) -> None:
    for key, value in left.items():
        if key in TRIAL_DEFAULTS and value != TRIAL_DEFAULTS[key]:
            found.skipped[key] = f"is {value}; trials always have {TRIAL_DEFAULTS[key]}"
        elif key not in IGNORED and value not in (None, False, -1, ""):
            found.skipped[key] = "no lever stands for it"
