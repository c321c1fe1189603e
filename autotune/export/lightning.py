"""Lightning: a LightningModule, and ``trainer_args.json`` for its Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.domain import Strategy, Study, Trial
from autotune.domain.training import num_steps
from autotune.export.arguments import (
    accumulation_steps,
    parallel_degrees,
    uneven_batch,
    unsupported_parallelism,
)
from autotune.export.base import ScriptFormat, as_json
from autotune.export.levers import LOOP_GROUPS

PRECISIONS = {
    "fp32": "32-true",
    "tf32": "32-true",
    "bf16": "bf16-mixed",
    "bf16-pure": "bf16-true",
    "fp16": "16-mixed",
}


def trainer_arguments(study: Study, trial: Trial, examples: int) -> dict[str, Any]:
    """Arguments of ``lightning.Trainer``. Its epochs are integers, so the length is in steps."""
    strategy = trial.strategy
    device = str(strategy["device"])
    return {
        "accelerator": "gpu" if device.startswith("cuda") else device,
        "devices": 1,
        "precision": PRECISIONS[str(strategy["precision"])],
        "max_epochs": -1,
        "max_steps": study.task.steps or num_steps(strategy, examples),
        "accumulate_grad_batches": accumulation_steps(strategy),
        "gradient_clip_val": float(strategy["gradient_clip"]),
        "use_distributed_sampler": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
    }


def _config(study: Study, trial: Trial, examples: int) -> Mapping[str, str]:
    return {"trainer_args.json": as_json(trainer_arguments(study, trial, examples))}


def unsupported(strategy: Strategy) -> Mapping[str, str]:
    if parallel_degrees(strategy):
        return unsupported_parallelism("lightning")
    reasons = {**uneven_batch(strategy)}
    if strategy["precision"] == "fp16" and strategy["optimizer"] == "adamw-fused":
        reasons["optimizer"] = "Lightning cannot clip the gradients of a fused optimizer in fp16"
    return reasons


FORMAT = ScriptFormat(
    name="lightning",
    summary="Fine-tunes with Lightning; `trainer_args.json` holds the arguments of its Trainer.",
    template="train_lightning",
    command=lambda strategy: ("python", "train.py"),
    config=_config,
    groups=LOOP_GROUPS,
    packages=("lightning",),
    unsupported=unsupported,
)
