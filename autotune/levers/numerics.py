"""Levers of arithmetic and kernels: precision, attention, compilation, checkpointing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

from autotune.domain import (
    Categorical,
    Device,
    ForbiddenClause,
    Host,
    Strategy,
    Value,
    WorkloadProfile,
)
from autotune.levers.base import ACCURACY, LOOP, MEMORY, SCRIPT, SPEED, Lever
from autotune.levers.model_shape import ModelShape


def _no_hardware_precision(host: Host, value: Value) -> str | None:
    """Why no device of ``host`` has fast arithmetic of this precision."""
    gpus = [device for device in host.devices if device.kind == "cuda"]
    if value == "tf32" and not any(map(_has_tf32, gpus)):
        return "needs a CUDA GPU of compute capability 8.0 or newer"
    if value == "fp16" and not gpus:
        return "gradient scaling needs a CUDA GPU; on a CPU bf16 has the same size and more range"
    return missing_bf16(host) if value in ("bf16", "bf16-pure") else None


def missing_bf16(host: Host) -> str | None:
    """Why no device of ``host`` has fast arithmetic in bf16."""
    if any(device.bf16 for device in host.devices):
        return None
    return "no device has bf16 arithmetic (AMX, AVX512-BF16 or a GPU); emulation is slow"


def _has_tf32(gpu: Device) -> bool:
    return (gpu.capability or (0, 0)) >= (8, 0)


def _precision_forbidden_on(host: Host) -> Iterator[ForbiddenClause]:
    """Precisions that one device of ``host`` has and another one lacks."""
    any_bf16 = any(device.bf16 for device in host.devices)
    gpus = [device for device in host.devices if device.kind == "cuda"]
    for device in host.devices:
        if any_bf16 and not device.bf16:
            yield ForbiddenClause(
                f"{_trains_on(device)} and precision in [bf16, 'bf16-pure']",
                f"{device.id} has no bf16 arithmetic; emulation is slow",
            )
        if device in gpus and any(map(_has_tf32, gpus)) and not _has_tf32(device):
            yield ForbiddenClause(
                f"device == '{device.id}' and precision == tf32",
                f"{device.id} is not a GPU of compute capability 8.0 or newer",
            )


def _trains_on(device: Device) -> str:
    """The condition under which ``device`` trains on samples of its own.

    Layers that do not fit into GPU memory may still be placed on a CPU without bf16.
    """
    if device.kind != "cpu":
        return f"device == '{device.id}'"
    return "(device == cpu or placement == mixed)"


PRECISION = Lever(
    name="precision",
    summary="fp32; tf32 matrix products; bf16 autocast; all in bf16; fp16 with gradient scaling",
    domain=Categorical(("fp32", "tf32", "bf16", "bf16-pure", "fp16")),
    default="fp32",
    influences=frozenset({SPEED, MEMORY, ACCURACY}),
    unavailable=_no_hardware_precision,
    effect="autotune.trial.effects.precision:Precision",
    exports={
        SCRIPT: "{effect}",
        "hf-trainer": "bf16, fp16, tf32; bf16-pure in {effect}",
        "accelerate": "mixed_precision; tf32 and bf16-pure in {effect}",
        "deepspeed": "torch_autocast, bf16, fp16; tf32 in {effect}",
        "lightning": "precision; tf32 in {effect}",
    },
    forbidden=(
        ForbiddenClause("precision in [tf32, fp16] and device in [cpu, mps]",
            "tf32, and fp16 with gradient scaling, need a CUDA GPU"),
    ),
    forbidden_on=_precision_forbidden_on,
)  # fmt: skip

UNPADDED = "flash_attention_2"
"""Attention without padding: rows of a batch are concatenated for the kernel of flash-attn."""


def _no_flash_attention(host: Host, value: Value) -> str | None:
    if value != UNPADDED:
        return None
    gpus = [device for device in host.devices if device.kind == "cuda"]
    if not any(map(_has_tf32, gpus)):
        return "needs a CUDA GPU of compute capability 8.0 or newer"
    if find_spec("flash_attn") is None:
        return "needs the package flash-attn: pip install flash-attn"
    return None


ATTENTION = Lever(
    name="attention",
    summary="Attention as separate operations, torch's fused kernel, or flash-attn without padding",
    domain=Categorical(("eager", "sdpa", UNPADDED)),
    default="sdpa",
    influences=frozenset({SPEED, MEMORY}),
    unavailable=_no_flash_attention,
    effect="autotune.trial.models:load_model",
    exports={SCRIPT: "{effect}: attn_implementation"},
    forbidden=(
        ForbiddenClause(f"attention == {UNPADDED} and device in [cpu, mps]",
            "flash-attn needs a CUDA GPU"),
        ForbiddenClause(f"attention == {UNPADDED} and precision in [fp32, tf32]",
            "the kernels of flash-attn are for bf16 and fp16"),
        ForbiddenClause(
            f"attention == {UNPADDED} and pruning_ratio > 0 and pruning_method == structured "
            "and pruning_score == taylor",
            "scores need gradients in fp32, which flash-attn does not compute"),
        ForbiddenClause(f"attention == {UNPADDED} and compile != false",
            "each batch has another number of tokens without padding, which breaks the graph"),
        ForbiddenClause(f"attention == {UNPADDED} and parallelism in [tp, pp]",
            "tensors of several ranks and stages have padding"),
        ForbiddenClause(f"attention == {UNPADDED} and placement != single",
            "every layer has to be on the GPU"),
    ),
)  # fmt: skip


CUDA_GRAPHS = "cuda-graphs"
"""Compiled code whose kernels are recorded once and started together."""
GRAPH_MODE = "reduce-overhead"
"""The mode of torch.compile that records CUDA graphs."""

COMPILE_TOOLS = {
    "c++": "a C++ compiler (g++ or clang++) on PATH",
    "python.h": "the headers of Python (apt-get install python3-dev)",
}
TRITON_TOOLS = {"cc": "a C compiler (gcc or clang) on PATH"}
"""What compiled code needs: on every device, and on GPUs."""


def missing_compiler(host: Host) -> str | None:
    """What torch.compile lacks on ``host``; ``None`` if it lacks nothing."""
    has_gpu = any(device.kind == "cuda" for device in host.devices)
    needed = {**COMPILE_TOOLS, **(TRITON_TOOLS if has_gpu else {})}
    missing = [text for tool, text in needed.items() if tool not in host.tools]
    return f"torch.compile needs {' and '.join(missing)}" if missing else None


def _cannot_compile(host: Host, value: Value) -> str | None:
    if value == CUDA_GRAPHS and not any(device.kind == "cuda" for device in host.devices):
        return "CUDA graphs need a CUDA GPU"
    gpus = [device for device in host.devices if device.kind == "cuda"]
    if value is not False and gpus and all((gpu.capability or (9, 9)) < (7, 0) for gpu in gpus):
        return "torch.compile needs a GPU of compute capability 7.0 or newer"
    return None if value is False else missing_compiler(host)


def _compile_on_gpus(host: Host) -> Categorical:
    """On a CPU, compiling costs 30 seconds per input shape, more than a small trial takes."""
    has_gpu = any(device.kind == "cuda" for device in host.devices)
    return Categorical((False, True, CUDA_GRAPHS) if has_gpu else (False,))


COMPILE = Lever(
    name="compile",
    summary="Compile the model with torch.compile before training, or also record CUDA graphs",
    domain=Categorical((False, True, CUDA_GRAPHS)),
    default=False,
    influences=frozenset({SPEED, MEMORY}),
    unavailable=_cannot_compile,
    auto=_compile_on_gpus,
    effect="torch:compile",
    exports={
        LOOP: "torch.compile, before training",
        "hf-trainer": "torch_compile, torch_compile_mode",
        "accelerate": "dynamo_config",
        "deepspeed": "engine.compile() in train.py",
    },
    forbidden=(
        ForbiddenClause("compile == true and device == mps",
            "torch.compile does not support training on mps"),
        ForbiddenClause("compile == 'cuda-graphs' and device in [cpu, mps]",
            "CUDA graphs need a CUDA GPU"),
        ForbiddenClause("compile == 'cuda-graphs' and padding != fixed",
            "a CUDA graph has one shape; each further length would record another one"),
        ForbiddenClause("compile == 'cuda-graphs' and micro_batch_size != full",
            "the next micro-batch would overwrite the gradients of a recorded graph"),
        ForbiddenClause("compile == 'cuda-graphs' and parallelism != none",
            "graphs are recorded in one process; other layouts compile with true"),
        ForbiddenClause("compile == 'cuda-graphs' and placement != single",
            "a recorded graph runs on one device"),
        ForbiddenClause("compile == 'cuda-graphs' and offload == parameters",
            "weights that are loaded layer by layer have no fixed addresses"),
    ),
)  # fmt: skip


def _recompute_activations(
    shape: ModelShape, strategy: Strategy, profile: WorkloadProfile
) -> ModelShape:
    return replace(shape, recomputes_activations=bool(strategy["activation_checkpointing"]))


ACTIVATION_CHECKPOINTING = Lever(
    name="activation_checkpointing",
    summary="Recompute activations in the backward pass instead of keeping them",
    domain=Categorical((False, True)),
    default=False,
    influences=frozenset({SPEED, MEMORY}),
    workload=_recompute_activations,
    effect="autotune.trial.effects.checkpointing:enable_activation_checkpointing",
    exports={SCRIPT: "{effect}", "hf-trainer": "activation_checkpointing"},
    forbidden=(
        ForbiddenClause("compile == true and activation_checkpointing == true and device == cpu",
            "compiled code does not recompute on a CPU, so checkpointing only adds work"),
    ),
)  # fmt: skip
