"""Levers of batches: their size, padding and loading."""

from __future__ import annotations

from autotune.domain import Categorical, ForbiddenClause, Host, Range, Value
from autotune.levers.base import (
    ACCURACY,
    LOOP,
    MEMORY,
    SCRIPT,
    SPEED,
    TRIAL_LOOP,
    Lever,
)

MAX_BATCH = 65_536

BATCH_SIZE = Lever(
    name="batch_size",
    summary="Samples per optimizer step, over all devices",
    domain=Range(1, MAX_BATCH, integer=True),
    default=8,
    influences=frozenset({SPEED, MEMORY, ACCURACY}),
    auto=lambda host: Categorical((8, 16, 32, 64)),
    effect="autotune.trial.plan:TrainingPlan",
    exports={
        LOOP: "{effect}",
        "hf-trainer": "per_device_train_batch_size x gradient_accumulation_steps",
        "deepspeed": "train_batch_size",
        "lightning": "micro-batches x accumulate_grad_batches",
    },
)

MICRO_BATCH_SIZE = Lever(
    name="micro_batch_size",
    summary="Samples per forward and backward pass; gradient accumulation makes up the batch",
    domain=Range(1, MAX_BATCH, integer=True),
    named_values=("full",),
    default="full",
    influences=frozenset({SPEED, MEMORY}),
    auto=lambda host: Categorical(("full", 4, 8, 16)),
    effect="autotune.trial.plan:TrainingPlan",
    exports={
        LOOP: "{effect}",
        "hf-trainer": "per_device_train_batch_size",
        "deepspeed": "train_micro_batch_size_per_gpu, gradient_accumulation_steps",
        "lightning": "accumulate_grad_batches",
    },
    forbidden=(
        ForbiddenClause("micro_batch_size >= batch_size",
            "a micro-batch as large as the batch is no accumulation; write micro_batch_size: full"),
        ForbiddenClause("batch_size % micro_batch_size > 0",
            "the batch must be a whole number of micro-batches"),
    ),
)  # fmt: skip

PADDING = Lever(
    name="padding",
    summary="Pad to max_length, to the longest of the batch, or batch samples of similar length",
    domain=Categorical(("fixed", "dynamic", "bucketed")),
    default="dynamic",
    influences=frozenset({SPEED, MEMORY, ACCURACY}),
    effect="autotune.trial.data.batching:training_collator",
    exports={SCRIPT: "{effect}: order of samples and their padding"},
)


def _too_many_workers(host: Host, value: Value) -> str | None:
    if isinstance(value, str) or value < max(2, len(host.cores)):
        return None
    return f"{value} loader threads leave no core for training; this host has {len(host.cores)}"


LOADER_WORKERS = Lever(
    name="loader_workers",
    summary="Threads that collate batches in advance; with 0 the training thread does it",
    domain=Range(0, 64, integer=True),
    default=0,
    influences=frozenset({SPEED}),
    unavailable=_too_many_workers,
    auto=lambda host: Categorical((0, 1, 2)),
    effect="autotune.trial.plan:TrainingPlan",
    exports={TRIAL_LOOP: "{effect}"},
    forbidden=(
        ForbiddenClause("loader_workers > 0 and parallelism != none",
            "each rank collates its own share of a batch"),
        ForbiddenClause("loader_workers > 0 and offload == parameters",
            "offloading uses fsdp, where each rank collates its own batches"),
    ),
)  # fmt: skip

PREFETCH = Lever(
    name="prefetch",
    summary="Number of batches that each loader thread collates in advance",
    domain=Range(1, 64, integer=True),
    default=2,
    influences=frozenset({SPEED, MEMORY}),
    when="loader_workers > 0",
    auto=lambda host: Categorical((1, 2, 4)),
    effect="autotune.trial.plan:TrainingPlan",
    exports={TRIAL_LOOP: "{effect}"},
)


def _has_cuda(host: Host) -> bool:
    return any(device.kind == "cuda" for device in host.devices)


def _no_cuda(host: Host, value: Value) -> str | None:
    if value is False or _has_cuda(host):
        return None
    return "only copies to a CUDA GPU gain from pinned memory"


PINNED_MEMORY = Lever(
    name="pinned_memory",
    summary="Copy batches to the GPU asynchronously, from page-locked host memory",
    domain=Categorical((False, True)),
    default=_has_cuda,
    influences=frozenset({SPEED}),
    when="device == cuda",
    unavailable=_no_cuda,
    effect="autotune.trial.data.batching:training_collator",
    exports={SCRIPT: "{effect}"},
)
