"""Levers ``placement``, ``split_gpus`` and ``offload``: what lies on which device."""

from __future__ import annotations

from collections.abc import Iterator

from autotune.domain import Categorical, ForbiddenClause, Host, Range, Value
from autotune.levers.base import MEMORY, SPEED, TRIAL_LOOP, Lever

MAX_GPUS = 16


def _no_accelerator(host: Host, value: Value) -> str | None:
    has_accelerator = any(device.kind in ("cuda", "mps") for device in host.devices)
    if value == "single" or has_accelerator:
        return None
    return "this host has one device, the CPU"


def _no_cuda(host: Host, value: Value) -> str | None:
    if value == "none" or any(device.kind == "cuda" for device in host.devices):
        return None
    return "needs a CUDA GPU; without one everything is in host memory"


def _gpus(host: Host) -> list[str]:
    return [device.id for device in host.devices if device.kind == "cuda"]


def _too_few_gpus(host: Host, value: Value) -> str | None:
    count = len(_gpus(host))
    if value == 1 or (not isinstance(value, str) and value <= count):
        return None
    return f"needs {value} GPUs; this host has {count}"


def _split_gpus_forbidden_on(host: Host) -> Iterator[ForbiddenClause]:
    """Splits over more GPUs than there are from the device on."""
    gpus = _gpus(host)
    for index, gpu in enumerate(gpus[1:], start=1):
        available = len(gpus) - index
        yield ForbiddenClause(
            f"device == '{gpu}' and placement == split and split_gpus > {available}",
            f"split_gpus counts from {gpu} on, where there are {available}",
        )


PLACEMENT = Lever(
    name="placement",
    summary="One device; layers over several; embeddings on the CPU; CPU and GPU concurrently",
    domain=Categorical(("single", "split:time", "split:memory", "embeddings-on-cpu", "mixed")),
    default="single",
    influences=frozenset({SPEED, MEMORY}),
    unavailable=_no_accelerator,
    effect="autotune.trial.effects.device_map:dispatch_model",
    exports={TRIAL_LOOP: "{effect}; mixed in {autotune.trial.distributed}"},
    forbidden=(
        ForbiddenClause("placement != single and device == cpu",
            "without an accelerator everything is on the CPU"),
        ForbiddenClause("placement in [split, 'embeddings-on-cpu'] and parallelism != none",
            "each rank trains on one device"),
        ForbiddenClause("placement == mixed and parallelism != 'ddp:2'",
            "mixed runs two processes, one on the CPU and one on the GPU: parallelism ddp:2"),
        ForbiddenClause("placement in [split, 'embeddings-on-cpu'] and precision == fp16",
            "gradient scaling needs the gradients on the GPU"),
        ForbiddenClause("placement != single and compile == true",
            "a compiled graph runs on one device"),
        ForbiddenClause("placement == mixed and precision in [tf32, fp16]",
            "the CPU has no tf32 or fp16 arithmetic"),
    ),
)  # fmt: skip

SPLIT_GPUS = Lever(
    name="split_gpus",
    summary="Number of GPUs, counted from the device, that a split model uses before the CPU",
    domain=Range(1, MAX_GPUS, integer=True),
    default=1,
    influences=frozenset({SPEED, MEMORY}),
    when="placement == split",
    unavailable=_too_few_gpus,
    auto=lambda host: Categorical(tuple(range(1, max(1, len(_gpus(host))) + 1))),
    effect="autotune.levers.resources:required_resources",
    exports={TRIAL_LOOP: "{effect}: the GPUs of a process"},
    forbidden=(
        ForbiddenClause("split_gpus > 1 and device == mps", "an Apple machine has one GPU"),
    ),
    forbidden_on=_split_gpus_forbidden_on,
)

OFFLOAD = Lever(
    name="offload",
    summary="Keep optimizer states in host memory and step on the CPU, or offload all weights too",
    domain=Categorical(("none", "optimizer", "parameters")),
    default="none",
    influences=frozenset({SPEED, MEMORY}),
    unavailable=_no_cuda,
    effect="autotune.trial.effects.offloading:HostOptimizer",
    exports={
        TRIAL_LOOP: "{effect}, {autotune.trial.distributed.fsdp}",
        "deepspeed": "zero_optimization.offload_optimizer",
    },
    forbidden=(
        ForbiddenClause("offload != none and device in [cpu, mps]",
            "without a CUDA GPU everything is in host memory"),
        ForbiddenClause("offload == 'optimizer' and parallelism in [zero1, fsdp, tp, pp]",
            "these layouts shard optimizer states already; fsdp works with offload: parameters"),
        ForbiddenClause("offload == parameters and parallelism in [ddp, zero1, tp, pp]",
            "fsdp is what loads weights layer by layer"),
        ForbiddenClause("offload == parameters and compile == true",
            "the graph breaks at every layer, so compiling gains nothing"),
        ForbiddenClause("offload != none and placement != single",
            "placement decides what is on the CPU"),
        ForbiddenClause("offload != none and precision == fp16",
            "gradient scaling needs the gradients on the GPU"),
        ForbiddenClause("offload == parameters and optimizer == adafactor",
            "Adafactor does not support the sharded weights of fsdp"),
    ),
)  # fmt: skip
