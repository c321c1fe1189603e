"""Lightning: a LightningModule, and ``trainer_args.json`` for its Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.domain import Strategy, Study, Trial
from autotune.export.arguments import accumulation, kinds, only, steps, uneven
from autotune.export.base import ScriptFormat, as_json
from autotune.export.levers import CODE, LOOP

PRECISIONS = {
    "fp32": "32-true",
    "tf32": "32-true",
    "bf16": "bf16-mixed",
    "bf16-pure": "bf16-true",
    "fp16": "16-mixed",
}


def trainer_arguments(study: Study, trial: Trial, examples: int) -> dict[str, Any]:
    """Arguments of ``lightning.Trainer``, which has whole epochs alone: length is in steps."""
    strategy = trial.strategy
    device = str(strategy["device"])
    return {
        "accelerator": "gpu" if device.startswith("cuda") else device,
        "devices": 1,
        "precision": PRECISIONS[str(strategy["precision"])],
        "max_epochs": -1,
        "max_steps": study.task.steps or steps(strategy, examples),
        "accumulate_grad_batches": accumulation(strategy),
        "gradient_clip_val": 1.0,
        "use_distributed_sampler": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
    }


def _config(study: Study, trial: Trial, examples: int) -> Mapping[str, str]:
    return {"trainer_args.json": as_json(trainer_arguments(study, trial, examples))}


def refuse(strategy: Strategy) -> Mapping[str, str]:
    if kinds(strategy):
        return only("lightning")
    refused = {**uneven(strategy)}
    if strategy["precision"] == "fp16" and strategy["optimizer"] == "adamw-fused":
        refused["optimizer"] = "Lightning cannot clip the gradients of a fused optimizer in fp16"
    return refused


FORMAT = ScriptFormat(
    name="lightning",
    summary="Fine-tunes with Lightning; `trainer_args.json` holds the arguments of its Trainer.",
    template="train_lightning",
    command=lambda strategy: ("python", "train.py"),
    config=_config,
    arrives={
        **CODE,
        **LOOP,
        "batch_size": "micro-batches x accumulate_grad_batches",
        "micro_batch_size": "accumulate_grad_batches",
        "precision": "precision; tf32 by tuned/trial/effects/precision.py",
        "epochs": "max_steps",
        "device": "accelerator; tuned/ground.py",
    },
    packages=("lightning",),
    refuse=refuse,
)
