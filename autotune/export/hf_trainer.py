"""Hugging Face's Trainer: ``training_args.json`` for ``HfArgumentParser``, and the script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.domain import Strategy, Study, Task, Trial
from autotune.domain.metrics import get_metric
from autotune.domain.schedule import schedule_of
from autotune.domain.training import evaluation_interval, num_steps, peak_learning_rate
from autotune.export import torchrun
from autotune.export.arguments import (
    accumulation_steps,
    checkpointing_field,
    micro_batch_size,
    num_processes,
    parallel_degrees,
    uneven_batch,
    unsupported_parallelism,
)
from autotune.export.base import ScriptFormat, as_json
from autotune.export.levers import TRAINER_GROUPS
from autotune.levers.numerics import CUDA_GRAPHS, GRAPH_MODE

SUPPORTED_KINDS = ("ddp",)

OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw-fused": "adamw_torch_fused",
    "sgd": "sgd",
    "adafactor": "adafactor",
}


def training_arguments(study: Study, trial: Trial, examples: int) -> dict[str, Any]:
    """Fields of ``TrainingArguments`` for a training split of ``examples``; those that no lever
    sets have the values of every trial."""
    strategy, task = trial.strategy, study.task
    schedule = schedule_of(strategy, task.steps or num_steps(strategy, examples))
    precision = strategy["precision"]
    return {
        "output_dir": "checkpoints",
        "seed": trial.seed,
        "use_cpu": strategy["device"] == "cpu",
        "per_device_train_batch_size": micro_batch_size(strategy),
        "gradient_accumulation_steps": accumulation_steps(strategy),
        **({"max_steps": task.steps} if task.steps else {}),
        "num_train_epochs": float(strategy["epochs"]),
        "learning_rate": peak_learning_rate(strategy),
        "lr_scheduler_type": schedule.name,
        **({"lr_scheduler_kwargs": dict(schedule.arguments)} if schedule.arguments else {}),
        "warmup_steps": float(strategy["warmup_ratio"]),
        "optim": OPTIMIZERS[str(strategy["optimizer"])],
        "weight_decay": float(strategy["weight_decay"]),
        "max_grad_norm": float(strategy["gradient_clip"]),
        "label_smoothing_factor": float(strategy["label_smoothing"]),
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        **({"tf32": True} if precision == "tf32" else {}),
        "torch_compile": bool(strategy["compile"]),
        **({"torch_compile_mode": GRAPH_MODE} if strategy["compile"] == CUDA_GRAPHS else {}),
        **_checkpointing_arguments(bool(strategy["activation_checkpointing"])),
        "ddp_bucket_cap_mb": int(strategy.get("ddp_bucket_mib", 25)),
        "ddp_backend": "gloo"
        if strategy["device"] == "cpu" and num_processes(strategy) > 1
        else None,
        **_evaluation_arguments(task, strategy, examples),
        "logging_steps": 50,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "remove_unused_columns": False,
        "dataloader_pin_memory": strategy["device"] != "cpu",
    }


def _checkpointing_arguments(is_enabled: bool) -> dict[str, Any]:
    """Fields that recompute activations."""
    name = checkpointing_field()
    return {
        name: is_enabled,
        **({f"{name}_kwargs": {"use_reentrant": False}} if is_enabled else {}),
    }


def _evaluation_arguments(task: Task, strategy: Strategy, examples: int) -> dict[str, Any]:
    """Fields that evaluate during training, and keep and load the best weights."""
    if task.evaluate_every is None:
        return {"save_strategy": "no", "eval_strategy": "no"}
    metric = task.best_metric or "loss"
    return {
        "eval_strategy": "steps",
        "eval_steps": evaluation_interval(task.evaluate_every, strategy, examples),
        "save_strategy": "best",
        "save_total_limit": 1,
        "save_only_model": True,
        "load_best_model_at_end": True,
        "metric_for_best_model": f"eval_{metric}",
        "greater_is_better": get_metric(metric).direction == "maximize",
    }


def _config(study: Study, trial: Trial, examples: int) -> Mapping[str, str]:
    return {"training_args.json": as_json(training_arguments(study, trial, examples))}


def unsupported(strategy: Strategy) -> Mapping[str, str]:
    if parallel_degrees(strategy).keys() - {*SUPPORTED_KINDS}:
        return unsupported_parallelism("hf-trainer", *SUPPORTED_KINDS)
    return uneven_batch(strategy)


FORMAT = ScriptFormat(
    name="hf-trainer",
    summary="Fine-tunes with Hugging Face's Trainer; `training_args.json` holds its arguments.",
    template="train_hf_trainer",
    command=torchrun.command,
    config=_config,
    groups=TRAINER_GROUPS,
    packages=("accelerate",),
    unsupported=unsupported,
)
