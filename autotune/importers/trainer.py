"""Reads ``TrainingArguments`` of Hugging Face's Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.domain import Value
from autotune.importers.base import (
    NO_LEVER,
    OPTIMIZER_LEVERS,
    ImportedConfig,
    differs_from_trials,
    set_batch_levers,
)

IGNORED_KEYS = {
    "output_dir", "use_cpu", "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm",
    "save_strategy", "eval_strategy", "logging_steps", "logging_nan_inf_filter", "report_to",
    "remove_unused_columns", "activation_checkpointing_kwargs",
    "gradient_checkpointing_kwargs", "ddp_backend",
}  # fmt: skip
"""Fields without influence on training, and those of :data:`TRIAL_DEFAULTS`."""

TRIAL_DEFAULTS: Mapping[str, Any] = {
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
}
"""Values of all trials; other values are skipped."""

DEFAULT_BUCKET_MIB = 25
"""The default bucket size of torch's DistributedDataParallel."""


def read(document: Mapping[str, Any]) -> ImportedConfig:
    """Translate every field into a lever or a key of ``task``, or skip it with a reason."""
    config = ImportedConfig("TrainingArguments")
    levers, options = config.levers, dict(document)
    micro_batch_size = int(options.pop("per_device_train_batch_size", 8))
    accumulation_steps = int(options.pop("gradient_accumulation_steps", 1))
    set_batch_levers(levers, micro_batch_size, accumulation_steps)
    levers["learning_rate"] = float(options.pop("learning_rate", 5e-5))
    optimizer = str(options.pop("optim", "adamw_torch_fused"))
    if optimizer in OPTIMIZER_LEVERS:
        levers["optimizer"] = OPTIMIZER_LEVERS[optimizer]
    else:
        config.skipped["optim"] = f"the lever optimizer has no setting {optimizer}"
    _read_precision(levers, options)
    if options.pop("torch_compile", False):
        levers["compile"] = True
    flags = ("activation_checkpointing", "gradient_checkpointing")
    if True in [options.pop(flag, False) for flag in flags]:
        levers["activation_checkpointing"] = True
    _read_sampling(config, options)
    on_cpu = bool(options.get("use_cpu"))
    if on_cpu:
        levers["device"] = "cpu"
    if options.pop("dataloader_pin_memory", True) is False and not on_cpu:
        levers["pinned_memory"] = False
    bucket_mib = options.pop("ddp_bucket_cap_mb", None)
    if bucket_mib not in (None, DEFAULT_BUCKET_MIB):
        # A study file that sets the bucket size without parallelism is not valid.
        config.skipped["ddp_bucket_cap_mb"] = (
            f"set ddp_bucket_mib: {bucket_mib} together with parallelism; "
            "the file does not give the number of processes"
        )
    if workers := int(options.pop("dataloader_num_workers", 0)):
        levers["loader_workers"] = workers
        levers["prefetch"] = int(options.pop("dataloader_prefetch_factor", None) or 2)
    _read_task(config, options)
    _skip_others(config, options)
    return config


def _read_sampling(config: ImportedConfig, options: dict[str, Any]) -> None:
    """Read batches of similar length, under the names of transformers 5 and of older versions."""
    sampling = options.pop("train_sampling_strategy", "random")
    is_grouped = options.pop("group_by_length", False)
    if is_grouped or sampling == "group_by_length":
        config.levers["padding"] = "bucketed"
    elif sampling != "random":
        config.skipped["train_sampling_strategy"] = f"trials do not support {sampling} sampling"


def _read_precision(levers: dict[str, Value], options: dict[str, Any]) -> None:
    for name in ("fp16", "bf16", "tf32"):
        if options.pop(name, False):
            levers["precision"] = name


def _read_task(config: ImportedConfig, options: dict[str, Any]) -> None:
    steps, epochs = options.pop("max_steps", -1), options.pop("num_train_epochs", 3.0)
    if steps and steps > 0:
        config.task["steps"] = int(steps)
    else:
        config.task["epochs"] = float(epochs)
    if "seed" in options:
        config.task["seed"] = int(options.pop("seed"))


def _skip_others(config: ImportedConfig, options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        if key in TRIAL_DEFAULTS and value != TRIAL_DEFAULTS[key]:
            config.skipped[key] = differs_from_trials(value, TRIAL_DEFAULTS[key])
        elif key not in IGNORED_KEYS and value not in (None, False, -1, ""):
            config.skipped[key] = NO_LEVER
