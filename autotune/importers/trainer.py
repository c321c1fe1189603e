"""Reads ``TrainingArguments`` of Hugging Face's Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.domain import Value
from autotune.importers.base import (
    NO_LEVER,
    OPTIMIZER_LEVERS,
    RECORDED_GRAPHS,
    SGD_WITHOUT_MOMENTUM,
    ImportedConfig,
    differs_from_trials,
    pop_int,
    pop_number,
    set_batch_levers,
)
from autotune.importers.evaluations import read_evaluations
from autotune.importers.regularization import read_regularization
from autotune.levers.numerics import GRAPH_MODE

IGNORED_PREFIXES = (
    "logging_", "log_", "save_", "eval_", "hub_", "include_", "trackio_", "do_", "push_to_hub_",
)  # fmt: skip

IGNORED_KEYS = {
    "output_dir", "overwrite_output_dir", "logging_dir", "run_name", "project", "report_to",
    "disable_tqdm", "per_device_eval_batch_size", "prediction_loss_only",
    "batch_eval_metrics", "push_to_hub",
    "ignore_data_skip", "resume_from_checkpoint", "skip_memory_metrics", "debug", "local_rank",
    "use_cpu", "no_cuda", "remove_unused_columns", "label_names", "length_column_name",
    "gradient_checkpointing_kwargs", "activation_checkpointing_kwargs", "ddp_backend",
    "ddp_timeout", "bf16_full_eval", "fp16_full_eval", "half_precision_backend", "_n_gpu",
    "enable_jit_checkpoint", "restore_callback_states_from_checkpoint",
    "dataloader_prefetch_factor", "dataloader_persistent_workers",
}  # fmt: skip
"""Fields without influence on training, and those that are read elsewhere."""

TRIAL_DEFAULTS: Mapping[str, Any] = {
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "average_tokens_across_devices": True,
}
"""Values of all trials; other values are skipped."""

DEFAULTS: Mapping[str, Any] = {
    "dataloader_in_order": True,
    "accelerator_config": {
        "split_batches": False,
        "dispatch_batches": None,
        "even_batches": True,
        "use_seedable_sampler": True,
        "non_blocking": False,
        "gradient_accumulation_kwargs": None,
    },
    "data_seed": None,
    "include_num_input_tokens_seen": "no",
    "torch_empty_cache_steps": None,
    "torch_compile_backend": "inductor",
    "fp16_opt_level": "O1",
    "fp16_backend": "auto",
    "ray_scope": "last",
    "fsdp_config": {
        "min_num_params": 0, "xla": False, "xla_fsdp_v2": False, "xla_fsdp_grad_ckpt": False,
    },
}  # fmt: skip
"""Values that ``TrainingArguments`` of transformers 4 or 5 writes where the user chose nothing."""

DEFAULT_BUCKET_MIB = 25
"""The default bucket size of torch's DistributedDataParallel."""


def read(document: Mapping[str, Any]) -> ImportedConfig:
    """Translate every field into a lever or a key of ``task``, or skip it with a reason."""
    config = ImportedConfig("TrainingArguments")
    levers, options = config.levers, dict(document)
    micro_batch_size = pop_int(options, "per_device_train_batch_size", 8, minimum=1)
    accumulation_steps = pop_int(options, "gradient_accumulation_steps", 1, minimum=1)
    set_batch_levers(levers, micro_batch_size, accumulation_steps)
    levers["learning_rate"] = pop_number(options, "learning_rate", 5e-5)
    optimizer = str(options.pop("optim", "adamw_torch_fused"))
    if optimizer in OPTIMIZER_LEVERS:
        levers["optimizer"] = OPTIMIZER_LEVERS[optimizer]
        if optimizer == "sgd":
            config.skipped["optim"] = SGD_WITHOUT_MOMENTUM
    else:
        config.skipped["optim"] = f"the lever optimizer has no setting {optimizer}"
    _read_precision(levers, options)
    if options.pop("torch_compile", False):
        levers["compile"] = True
        if options.get("torch_compile_mode") == GRAPH_MODE:
            config.skipped["torch_compile_mode"] = RECORDED_GRAPHS
    flags = ("activation_checkpointing", "gradient_checkpointing")
    if True in [options.pop(flag, False) for flag in flags]:
        levers["activation_checkpointing"] = True
    _read_sampling(config, options)
    read_regularization(config, options)
    on_cpu = bool(options.get("use_cpu") or options.get("no_cuda"))
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
    if workers := pop_int(options, "dataloader_num_workers", 0):
        levers["loader_workers"] = workers
        levers["prefetch"] = pop_int(options, "dataloader_prefetch_factor", 2, minimum=1)
    _read_task(config, options)
    read_evaluations(config, options)
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
    for name in ("tf32", "fp16", "bf16"):  # the last one wins: the others apply beside tf32
        if options.pop(name, False):
            levers["precision"] = name


def _read_task(config: ImportedConfig, options: dict[str, Any]) -> None:
    steps = pop_int(options, "max_steps", -1, minimum=-1)
    epochs = pop_number(options, "num_train_epochs", 3.0)
    if steps > 0:
        config.task["steps"] = steps
    else:
        config.task["epochs"] = epochs
    if options.get("seed") is not None:
        config.task["seed"] = pop_int(options, "seed", 0)


def _skip_others(config: ImportedConfig, options: Mapping[str, Any]) -> None:
    """Skip the other fields: first those that change what is trained."""
    for key, default in TRIAL_DEFAULTS.items():
        if options.get(key, default) not in (default, None):
            config.skipped[key] = differs_from_trials(options[key], default)
    for key, value in options.items():
        is_default = value in (None, False, -1, "", [], {}) or value == DEFAULTS.get(key)
        is_ignored = key in IGNORED_KEYS or key.startswith(IGNORED_PREFIXES)
        if not is_default and not is_ignored and key not in {*TRIAL_DEFAULTS, *config.skipped}:
            config.skipped[key] = NO_LEVER
