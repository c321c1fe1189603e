"""DeepSpeed: ``ds_config.json``, and a script around its engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autotune.domain import Strategy, Study, Trial
from autotune.export.arguments import (
    accumulation_steps,
    micro_batch_size,
    num_processes,
    parallel_degrees,
    peak_rate,
    uneven_batch,
    unsupported_parallelism,
)
from autotune.export.base import ScriptFormat, as_json
from autotune.export.levers import LOOP_GROUPS

ZERO_STAGE = {"zero1": 1, "fsdp": 3}
"""What DeepSpeed calls sharding: of optimizer states; of these, gradients and parameters."""


BUILT = ("adamw", "adamw-fused")
"""Optimizers that DeepSpeed builds itself, and the only ones whose states it shards."""


def ds_config(strategy: Strategy) -> dict[str, Any]:
    """The document that ``deepspeed.initialize`` reads."""
    precision = strategy["precision"]
    return {
        "train_batch_size": int(strategy["batch_size"]),
        "train_micro_batch_size_per_gpu": micro_batch_size(strategy),
        "gradient_accumulation_steps": accumulation_steps(strategy),
        "gradient_clipping": 1.0,
        "bf16": {"enabled": precision == "bf16-pure"},
        "torch_autocast": {"enabled": precision == "bf16", "dtype": "bfloat16"},
        "fp16": {"enabled": precision == "fp16"},
        "zero_optimization": _zero(strategy),
        **_optimizer(strategy),
        "steps_per_print": 1000,
    }


def _zero(strategy: Strategy) -> dict[str, Any]:
    """What is sharded over ranks, and what is kept in host memory."""
    stage = max((ZERO_STAGE.get(kind, 0) for kind in parallel_degrees(strategy)), default=0)
    elements = int(strategy.get("ddp_bucket_mib", 25)) * 2**20 // 4
    zero: dict[str, Any] = {"stage": stage, "reduce_bucket_size": elements}
    offload = strategy.get("offload", "none")
    if offload != "none":
        zero["stage"] = max(stage, 1)
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if offload == "parameters":
        zero["stage"] = 3
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return zero


def _optimizer(strategy: Strategy) -> dict[str, Any]:
    """DeepSpeed builds AdamW itself; the others come from the script."""
    name = str(strategy["optimizer"])
    if name not in BUILT:
        return {}
    parameters = {
        "lr": peak_rate(strategy),
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "weight_decay": 0.0,
        "torch_adam": name == "adamw",
    }
    return {"optimizer": {"type": "AdamW", "params": parameters}}


def command(strategy: Strategy) -> Sequence[str]:
    return ("deepspeed", "--num_gpus", str(num_processes(strategy)), "train.py")


def unsupported(strategy: Strategy) -> Mapping[str, str]:
    able = ("ddp", *ZERO_STAGE)
    refused = {**uneven_batch(strategy)}
    if parallel_degrees(strategy).keys() - {*able}:
        refused = unsupported_parallelism(
            "deepspeed", *able
        )  # which of its processes share a batch is not known
    if strategy["optimizer"] not in BUILT and _zero(strategy)["stage"]:
        refused["optimizer"] = "DeepSpeed shards and offloads the states of AdamW alone"
    if strategy["device"] == "mps":
        refused["device"] = "DeepSpeed has no engine for Apple's GPUs"
    if strategy["pruning_method"] == "unstructured" and strategy["pruning_ratio"]:
        refused["pruning_method"] = "the engine owns the weights, which a mask would have to hold"
    return refused


def _config(study: Study, trial: Trial, examples: int) -> Mapping[str, str]:
    return {"ds_config.json": as_json(ds_config(trial.strategy))}


FORMAT = ScriptFormat(
    name="deepspeed",
    summary="Fine-tunes with DeepSpeed's engine; `ds_config.json` is its configuration.",
    template="train_deepspeed",
    command=command,
    config=_config,
    groups=LOOP_GROUPS,
    packages=("deepspeed",),
    unsupported=unsupported,
)
