"""Levers of the deployed model: its runtime, the type of its numbers, batches and threads.

They change nothing in training. Trials that differ only in these levers deploy one trained model.
"""

from __future__ import annotations

from collections.abc import Iterator

from autotune.domain import Categorical, ForbiddenClause, Host, Range, Value
from autotune.domain.runtimes import QUANTIZATIONS, RUNTIMES
from autotune.levers.base import DEPLOYMENT, SCRIPT, Lever
from autotune.levers.batching import MAX_BATCH
from autotune.levers.devices import MAX_THREADS, too_many_threads
from autotune.levers.numerics import missing_bf16, missing_compiler

COMPILED = "torch-compile"

ON_GPU = [name for name, runtime in RUNTIMES.items() if runtime.is_on_gpu]

ALL_CORES = 0
"""The setting of ``inference_threads`` that stands for all physical cores."""

EFFECT = "autotune.deployment:build"

EXPORTS = {SCRIPT: "no part of training: it is about the deployed model"}


def _missing_runtime(host: Host, value: Value) -> str | None:
    runtime = RUNTIMES[str(value)]
    missing = [name for name in runtime.packages if name not in host.tools]
    if missing:
        return f"needs {' and '.join(missing)}: pip install 'autotune[{runtime.extra}]'"
    if value == COMPILED:
        return missing_compiler(host)
    if runtime.is_on_gpu and all(device.kind != "cuda" for device in host.devices):
        return "needs a CUDA GPU"
    return None


def _runs_nowhere(host: Host, value: Value) -> str | None:
    """Why no runtime of ``host`` can run a quantization, or only by slow emulation."""
    able = [name for name, runtime in RUNTIMES.items() if value in runtime.quantizations]
    reasons = {name: _missing_runtime(host, name) for name in able}
    if not able or None in reasons.values():
        return missing_bf16(host) if value == "bf16" else None
    return "; ".join(f"{runtime} {reason}" for runtime, reason in reasons.items())


def _bf16_forbidden_on(host: Host) -> Iterator[ForbiddenClause]:
    """bf16 where the device that serves lacks it and another one of ``host`` has it."""
    if not any(device.bf16 for device in host.devices):
        return
    for device in host.devices:
        if device.kind == "cpu" and not device.bf16:
            runtimes = ", ".join(repr(name) for name in RUNTIMES if name not in ON_GPU)
            yield ForbiddenClause(
                f"quantization == bf16 and runtime in [{runtimes}]",
                "the CPU has no bf16 arithmetic; emulation is slow",
            )
        elif device.kind == "cuda" and not device.bf16:
            runtimes = ", ".join(map(repr, ON_GPU))
            yield ForbiddenClause(
                f"quantization == bf16 and runtime in [{runtimes}] and device == '{device.id}'",
                f"{device.id} has no bf16 arithmetic",
            )


def _runtimes(host: Host) -> Categorical:
    """Without the one that compiles the model, which took 100 s for each deployment of MiniLM."""
    return Categorical(tuple(name for name in RUNTIMES if name != COMPILED))


def _thread_counts(host: Host) -> Categorical:
    cores = host.physical_cores or len(host.cores)
    powers = [2**exponent for exponent in range(cores.bit_length()) if 2**exponent < cores]
    return Categorical((ALL_CORES, *powers))


RUNTIME = Lever(
    name="runtime",
    summary="What runs the deployed model",
    domain=Categorical(tuple(RUNTIMES)),
    default="torch",
    influences=frozenset({DEPLOYMENT}),
    unavailable=_missing_runtime,
    auto=_runtimes,
    effect=EFFECT,
    exports=EXPORTS,
    forbidden=(
        ForbiddenClause(f"runtime in [{', '.join(map(repr, ON_GPU))}] and device in [cpu, mps]",
            "only trials that train on a GPU reserve one to serve on"),
    ),
)  # fmt: skip

QUANTIZATION = Lever(
    name="quantization",
    summary="The type of the numbers of the deployed model; static int8 is calibrated on examples",
    domain=Categorical(QUANTIZATIONS),
    default="none",
    influences=frozenset({DEPLOYMENT}),
    unavailable=_runs_nowhere,
    forbidden_on=_bf16_forbidden_on,
    effect=EFFECT,
    exports=EXPORTS,
    forbidden=tuple(
        ForbiddenClause(
            f"runtime == '{runtime.name}' and "
            f"not quantization in [{', '.join(map(repr, runtime.quantizations))}]",
            f"{runtime.name} can run {', '.join(runtime.quantizations)}",
        )
        for runtime in RUNTIMES.values()
    ),
)

IS_INT8 = "quantization in ['int8-dynamic', 'int8-static']"

QUANTIZATION_GRANULARITY = Lever(
    name="quantization_granularity",
    summary="One scale of int8 weights for each output channel, or for the whole matrix",
    domain=Categorical(("channel", "tensor")),
    default="channel",
    influences=frozenset({DEPLOYMENT}),
    when=IS_INT8,
    effect=EFFECT,
    exports=EXPORTS,
)

QUANTIZATION_OPERATORS = Lever(
    name="quantization_operators",
    summary="int8 for linear layers and embeddings, or for linear layers only",
    domain=Categorical(("all", "linear")),
    default="all",
    influences=frozenset({DEPLOYMENT}),
    when=IS_INT8,
    effect=EFFECT,
    exports=EXPORTS,
)

INFERENCE_BATCH_SIZE = Lever(
    name="inference_batch_size",
    summary="Texts in a batch of the deployed model, for its throughput",
    domain=Range(1, MAX_BATCH, integer=True),
    default=32,
    influences=frozenset({DEPLOYMENT}),
    auto=lambda host: Categorical((8, 32, 128)),
    effect=EFFECT,
    exports=EXPORTS,
)

INFERENCE_THREADS = Lever(
    name="inference_threads",
    summary="Threads of the deployed model; 0 for one on each physical core",
    domain=Range(ALL_CORES, MAX_THREADS, integer=True),
    default=ALL_CORES,
    influences=frozenset({DEPLOYMENT}),
    unavailable=too_many_threads,
    auto=_thread_counts,
    effect=EFFECT,
    exports=EXPORTS,
)

INFERENCE_PADDING = Lever(
    name="inference_padding",
    summary="Batches in the order of arrival, or of texts of similar length",
    domain=Categorical(("dynamic", "bucketed")),
    default="dynamic",
    influences=frozenset({DEPLOYMENT}),
    effect=EFFECT,
    exports=EXPORTS,
)
