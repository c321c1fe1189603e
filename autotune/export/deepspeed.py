"""DeepSpeed: ``ds_config.json``, and a script that uses its engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autotune.domain import Strategy, Study, Trial
from autotune.domain.training import peak_learning_rate
from autotune.export.arguments import (
    accumulation_steps,
    micro_batch_size,
    num_processes,
    parallel_degrees,
    uneven_batch,
    unsupported_parallelism,
)
from autotune.export.base import ScriptFormat, as_json
from autotune.export.levers import LOOP_GROUPS

BF16_STATES = ("bf16_master_weights_and_grads", "bf16_optimizer_states")
"""What is in bf16 too with the precision ``bf16-pure``; DeepSpeed has it with ZeRO only."""

NATIVE_OPTIMIZERS = ("adamw", "adamw-fused")
"""Optimizers that DeepSpeed implements, and the only ones whose states it shards."""


def ds_config(strategy: Strategy) -> dict[str, Any]:
    """The document that ``deepspeed.initialize`` reads."""
    precision = strategy["precision"]
    is_pure = precision == "bf16-pure"
    return {
        "train_batch_size": int(strategy["batch_size"]),
        "train_micro_batch_size_per_gpu": micro_batch_size(strategy),
        "gradient_accumulation_steps": accumulation_steps(strategy),
        "gradient_clipping": float(strategy["gradient_clip"]),
        "bf16": {"enabled": is_pure, **(dict.fromkeys(BF16_STATES, True) if is_pure else {})},
        "torch_autocast": {"enabled": precision == "bf16", "dtype": "bfloat16"},
        "fp16": {"enabled": precision == "fp16"},
        "zero_optimization": _zero(strategy),
        **_optimizer(strategy),
        "steps_per_print": 1000,
    }


def _zero(strategy: Strategy) -> dict[str, Any]:
    """ZeRO stage and offloading. Stage 1 shards the states of the optimizer."""
    offloads = strategy.get("offload", "none") == "optimizer"
    stage = int("zero1" in parallel_degrees(strategy) or offloads)
    elements = int(strategy.get("ddp_bucket_mib", 25)) * 2**20 // 4
    zero: dict[str, Any] = {"stage": stage, "reduce_bucket_size": elements}
    if offloads:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    return zero


def _optimizer(strategy: Strategy) -> dict[str, Any]:
    """The section for AdamW. The script builds the other optimizers."""
    name = str(strategy["optimizer"])
    if name not in NATIVE_OPTIMIZERS:
        return {}
    parameters = {
        "lr": peak_learning_rate(strategy),
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "weight_decay": float(strategy["weight_decay"]),
        "torch_adam": name == "adamw",
    }
    return {"optimizer": {"type": "AdamW", "params": parameters}}


def command(strategy: Strategy) -> Sequence[str]:
    count, first = num_processes(strategy), int(str(strategy["device"]).partition(":")[2] or 0)
    if first == 0:
        return ("deepspeed", "--num_gpus", str(count), "train.py")
    gpus = ",".join(map(str, range(first, first + count)))
    return ("deepspeed", "--include", f"localhost:{gpus}", "train.py")


def unsupported(strategy: Strategy) -> Mapping[str, str]:
    supported = ("ddp", "zero1")
    reasons = {**uneven_batch(strategy)}
    if parallel_degrees(strategy).keys() - {*supported}:
        # The script does not know which processes of other kinds share a batch.
        reasons = unsupported_parallelism("deepspeed", *supported)
    if strategy["optimizer"] not in NATIVE_OPTIMIZERS and _zero(strategy)["stage"]:
        reasons["optimizer"] = "DeepSpeed shards and offloads only the states of AdamW"
    if strategy["offload"] == "parameters":
        reasons["offload"] = "the script evaluates and saves whole weights, which ZeRO 3 divides"
    if strategy["precision"] == "bf16-pure" and not _zero(strategy)["stage"]:
        reasons["precision"] = "without ZeRO, DeepSpeed keeps weights in fp32 beside those in bf16"
    if strategy["device"] == "mps":
        reasons["device"] = "DeepSpeed has no engine for Apple's GPUs"
    if strategy["pruning_method"] == "unstructured" and strategy["pruning_ratio"]:
        reasons["pruning_method"] = (
            "DeepSpeed's engine does not let masks be applied to its weights"
        )
    if strategy["adapter"] == "adalora":
        reasons["adapter"] = "DeepSpeed's engine clears the gradients by which ranks are allocated"
    return reasons


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
