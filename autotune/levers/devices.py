"""Levers ``device``, ``threads`` and ``allocator``."""

from __future__ import annotations

from autotune.domain import Categorical, Host, Range, Value
from autotune.levers.base import MEMORY, SCRIPT, SPEED, Lever, Pattern

MAX_THREADS = 1024

SCRIPT_DEVICE = "{autotune.export.templates.device}"


def _default_device(host: Host) -> Value:
    """The device that Hugging Face's Trainer would pick: the first accelerator, else the CPU."""
    first = {device.kind: device.id for device in reversed(host.devices)}
    return first.get("cuda") or first.get("mps") or "cpu"


def _device_missing(host: Host, value: Value) -> str | None:
    if host.device(str(value)) is not None:
        return None
    return f"no device {value} on this host (found: {', '.join(d.id for d in host.devices)})"


def _devices(host: Host) -> Categorical:
    return Categorical(tuple(device.id for device in host.devices))


def _physical_cores(host: Host) -> int:
    """As many threads as torch starts by default: hardware threads of one core share its units."""
    return min(host.physical_cores or len(host.cores), len(host.cores))


def _default_threads(host: Host) -> int:
    """The physical cores; with several GPUs, the share of one, so that all can train at a time."""
    gpus = sum(device.kind == "cuda" for device in host.devices)
    return max(1, _physical_cores(host) // max(gpus, 1))


def too_many_threads(host: Host, value: Value) -> str | None:
    if isinstance(value, str) or value <= len(host.cores):
        return None
    return f"{value} threads on {len(host.cores)} cores would share cores"


def _thread_counts(host: Host) -> Categorical:
    cores = len(host.cores)
    powers = [2**exponent for exponent in range(cores.bit_length()) if 2**exponent <= cores]
    return Categorical(tuple(sorted({*powers, _physical_cores(host), cores})))


def _no_glibc(host: Host, value: Value) -> str | None:
    if value == "system" or (host.libc or "").startswith("glibc"):
        return None
    return f"needs glibc; this host has {host.libc or 'another C library'}"


DEVICE = Lever(
    name="device",
    summary="Device that trains the model: the CPU, one CUDA GPU, or Apple's GPU",
    domain=Pattern(r"cpu|mps|cuda:\d+", "cpu, cuda:0, mps"),
    default=_default_device,
    influences=frozenset({SPEED, MEMORY}),
    unavailable=_device_missing,
    auto=_devices,
    effect="autotune.trial.devices:init_device",
    exports={
        SCRIPT: f"{SCRIPT_DEVICE}, before the first tensor",
        "accelerate": f"use_cpu; {SCRIPT_DEVICE}",
        "lightning": f"accelerator; {SCRIPT_DEVICE}",
        "ray-train": f"use_gpu: Ray chooses the GPU; {SCRIPT_DEVICE}",
        "slurm": "--gpus-per-node, whose GPUs count from 0; {effect}",
    },
)

THREADS = Lever(
    name="threads",
    summary="Intra-op threads of each process, each on a core of its own",
    domain=Range(1, MAX_THREADS, integer=True),
    default=_default_threads,
    influences=frozenset({SPEED}),
    unavailable=too_many_threads,
    auto=_thread_counts,
    effect="autotune.trial.devices:init_device",
    exports={
        SCRIPT: f"{SCRIPT_DEVICE}: intra-op threads, each on a core of its own",
        "accelerate": f"--num_cpu_threads_per_process; {SCRIPT_DEVICE}",
        "ray-train": f"resources_per_worker; {SCRIPT_DEVICE}",
        "slurm": f"--cpus-per-task, OMP_NUM_THREADS; {SCRIPT_DEVICE}",
    },
)

ALLOCATOR = Lever(
    name="allocator",
    summary="Host memory allocator: the C library's defaults, or glibc set to keep freed memory",
    domain=Categorical(("system", "tuned")),
    default="system",
    influences=frozenset({SPEED, MEMORY}),
    unavailable=_no_glibc,
    effect="autotune.trial.effects.allocator:apply",
    exports={SCRIPT: "{effect}, before the first tensor"},
)
