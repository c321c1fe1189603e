"""Levers of how the same mathematics is computed."""

from __future__ import annotations

from collections.abc import Iterator

from autotune.domain import Categorical, Device, ForbiddenClause, Host, Value
from autotune.levers.base import ACCURACY, MEMORY, SPEED, Lever, influences

BF16_CPU_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")


def _no_precision(host: Host, value: Value) -> str | None:
    """Why no device of this host computes in this precision with profit."""
    gpus = [device for device in host.devices if device.kind == "cuda"]
    if value == "tf32" and not any(map(_has_tf32, gpus)):
        return "needs a CUDA GPU of compute capability 8.0 or newer"
    if value == "fp16" and not gpus:
        return "gradient scaling needs a CUDA GPU; on a CPU bf16 has the same size and more range"
    if value in ("bf16", "bf16-pure") and not any(device.bf16 for device in host.devices):
        return "no device here has bf16 arithmetic (AMX, AVX512-BF16 or a GPU); emulated it is slow"
    return None


def _has_tf32(gpu: Device) -> bool:
    return (gpu.capability or (0, 0)) >= (8, 0)


def host_rules(host: Host) -> Iterator[ForbiddenClause]:
    """Precisions that one device of this host has and another lacks."""
    some_bf16 = any(device.bf16 for device in host.devices)
    gpus = [device for device in host.devices if device.kind == "cuda"]
    for device in host.devices:
        if some_bf16 and not device.bf16:
            yield ForbiddenClause(
                f"{_works_on(device)} and precision in [bf16, 'bf16-pure']",
                f"{device.id} has no bf16 arithmetic; emulated it is slow",
            )
        if device in gpus and any(map(_has_tf32, gpus)) and not _has_tf32(device):
            yield ForbiddenClause(
                f"device == '{device.id}' and precision == tf32",
                f"{device.id} is no GPU of compute capability 8.0 or newer",
            )


def _works_on(device: Device) -> str:
    """When ``device`` trains on examples of its own. Layers that a GPU has no room for may lie on
    a slow CPU all the same."""
    if device.kind != "cpu":
        return f"device == '{device.id}'"
    return "(device == cpu or placement == mixed)"


def _no_compiler(host: Host, value: Value) -> str | None:
    if value is False or "c++" in host.tools:
        return None
    return "torch.compile needs a C++ compiler (g++ or clang++) on PATH"


def _eager_or_compiled(host: Host) -> Categorical:
    """Compiling costs half a minute per shape on a CPU, more than a small trial takes."""
    gpu = any(device.kind == "cuda" for device in host.devices)
    return Categorical((False, True) if gpu else (False,))


PRECISION = Lever(
    name="precision",
    summary="fp32; tf32 matrix products; bf16 autocast; all in bf16; fp16 with gradient scaling",
    domain=Categorical(("fp32", "tf32", "bf16", "bf16-pure", "fp16")),
    default="fp32",
    influences=influences(SPEED, MEMORY, ACCURACY),
    unavailable=_no_precision,
)

ATTENTION = Lever(
    name="attention",
    summary="Attention written out step by step, or torch's fused kernel",
    domain=Categorical(("eager", "sdpa")),
    default="sdpa",
    influences=influences(SPEED, MEMORY),
)

COMPILE = Lever(
    name="compile",
    summary="Compile the model with torch.compile before training",
    domain=Categorical((False, True)),
    default=False,
    influences=influences(SPEED, MEMORY),
    unavailable=_no_compiler,
    auto=_eager_or_compiled,
)

ACTIVATION_CHECKPOINTING = Lever(
    name="activation_checkpointing",
    summary="Recompute activations in the backward pass instead of keeping them",
    domain=Categorical((False, True)),
    default=False,
    influences=influences(SPEED, MEMORY),
)
