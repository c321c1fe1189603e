"""Levers of where work runs: the device, its threads and the memory allocator beneath them."""

from __future__ import annotations

from collections.abc import Iterator

from autotune.domain import Categorical, ForbiddenClause, Host, Range, Value
from autotune.levers.base import MEMORY, SPEED, Lever, Pattern, influences

MAX_THREADS = 1024
MAX_GPUS = 16


def _best_device(host: Host) -> Value:
    """The device Hugging Face's Trainer would pick: the first accelerator, else the CPU."""
    kinds = {device.kind: device.id for device in reversed(host.devices)}
    return kinds.get("cuda") or kinds.get("mps") or "cpu"


def _device_missing(host: Host, value: Value) -> str | None:
    if host.device(str(value)) is not None:
        return None
    return f"no device {value} on this host (found: {', '.join(d.id for d in host.devices)})"


def _devices(host: Host) -> Categorical:
    return Categorical(tuple(device.id for device in host.devices))


def _all_cores(host: Host) -> Value:
    return len(host.cores)


def _too_many_threads(host: Host, value: Value) -> str | None:
    if isinstance(value, str) or value <= len(host.cores):
        return None
    return f"{value} threads on {len(host.cores)} cores would share cores"


def _thread_counts(host: Host) -> Categorical:
    cores = len(host.cores)
    powers = [2**exponent for exponent in range(cores.bit_length()) if 2**exponent <= cores]
    return Categorical(tuple(sorted({*powers, cores})))


def _no_glibc(host: Host, value: Value) -> str | None:
    if value == "system" or (host.libc or "").startswith("glibc"):
        return None
    return f"tuned settings are glibc's; this host has {host.libc or 'another C library'}"


DEVICE = Lever(
    name="device",
    summary="Where the model is trained: the CPU, one CUDA GPU, or Apple's GPU",
    domain=Pattern(r"cpu|mps|cuda:\d+", "cpu, cuda:0, mps"),
    default=_best_device,
    influences=influences(SPEED, MEMORY),
    unavailable=_device_missing,
    auto=_devices,
)

THREADS = Lever(
    name="threads",
    summary="Intra-op threads of each process, each on a core of its own",
    domain=Range(1, MAX_THREADS, integer=True),
    default=_all_cores,
    influences=influences(SPEED),
    unavailable=_too_many_threads,
    auto=_thread_counts,
)

ALLOCATOR = Lever(
    name="allocator",
    summary="Host memory: the C library's defaults, or glibc told to keep what it has freed",
    domain=Categorical(("system", "tuned")),
    default="system",
    influences=influences(SPEED, MEMORY),
    unavailable=_no_glibc,
)


def _one_place(host: Host, value: Value) -> str | None:
    accelerated = any(device.kind in ("cuda", "mps") for device in host.devices)
    if value == "single" or accelerated:
        return None
    return "this host has one device, the CPU"


def _nothing_to_offload(host: Host, value: Value) -> str | None:
    if value == "none" or any(device.kind == "cuda" for device in host.devices):
        return None
    return "needs a CUDA GPU; without one everything is in host memory already"


PLACEMENT = Lever(
    name="placement",
    summary="One device; layers over several; embeddings on the CPU; CPU and GPU side by side",
    domain=Categorical(("single", "split:time", "split:memory", "embeddings-on-cpu", "mixed")),
    default="single",
    influences=influences(SPEED, MEMORY),
    unavailable=_one_place,
)


def _too_few_gpus(host: Host, value: Value) -> str | None:
    count = len(_gpus(host))
    if value == 1 or (not isinstance(value, str) and value <= count):
        return None
    there = "is 1" if count == 1 else f"are {count}"
    return f"{value} GPUs are asked for, and there {there}"


def _gpus(host: Host) -> list[str]:
    return [device.id for device in host.devices if device.kind == "cuda"]


SPLIT_GPUS = Lever(
    name="split_gpus",
    summary="GPUs, from the device on, that a split model's layers lie on before the CPU has any",
    domain=Range(1, MAX_GPUS, integer=True),
    default=1,
    influences=influences(SPEED, MEMORY),
    when="placement == split",
    unavailable=_too_few_gpus,
    auto=lambda host: Categorical(tuple(range(1, max(1, len(_gpus(host))) + 1))),
)

OFFLOAD = Lever(
    name="offload",
    summary="Keep the optimizer's states in host memory and step there, or all weights as well",
    domain=Categorical(("none", "optimizer", "parameters")),
    default="none",
    influences=influences(SPEED, MEMORY),
    unavailable=_nothing_to_offload,
)


def host_rules(host: Host) -> Iterator[ForbiddenClause]:
    """Splits over more GPUs than follow the device."""
    gpus = _gpus(host)
    for place, gpu in enumerate(gpus[1:], start=1):
        left = len(gpus) - place
        yield ForbiddenClause(
            f"device == '{gpu}' and placement == split and split_gpus > {left}",
            f"GPUs are counted from {gpu} on, where there are {left}",
        )


RULES: tuple[ForbiddenClause, ...] = (
    ForbiddenClause("placement != single and device == cpu",
         "all of it is on the CPU already"),
    ForbiddenClause("placement in [split, 'embeddings-on-cpu'] and parallelism != none",
         "each rank has one device of its own"),
    ForbiddenClause("placement == mixed and parallelism != 'ddp:2'",
         "a CPU and a GPU side by side are two processes, each with its share of the batch"),
    ForbiddenClause("split_gpus > 1 and device == mps",
         "Apple's GPU is one"),
    ForbiddenClause("placement in [split, 'embeddings-on-cpu'] and precision == fp16 and freeze_layers > 0",
         "frozen layers are kept in fp16, in which the CPU does not multiply"),
    ForbiddenClause("placement != single and compile == true",
         "a compiled graph is of one device"),
    ForbiddenClause("placement == mixed and precision in [tf32, fp16]",
         "the CPU has no such arithmetic"),
    ForbiddenClause("offload != none and device in [cpu, mps]",
         "weights and states are in host memory already"),
    ForbiddenClause("offload == 'optimizer' and parallelism in [zero1, fsdp, tp, pp]",
         "these divide states over ranks already; fsdp goes with offload: parameters"),
    ForbiddenClause("offload == parameters and parallelism in [ddp, zero1, tp, pp]",
         "weights come in a layer at a time through fsdp"),
    ForbiddenClause("offload == parameters and compile == true",
         "a graph that ends at every layer gains nothing"),
    ForbiddenClause("offload != none and placement != single",
         "placement already says what is on the CPU"),
    ForbiddenClause("offload != none and precision == fp16",
         "gradient scaling works on gradients where they were made"),
    ForbiddenClause("offload == parameters and optimizer == adafactor",
         "Adafactor does not know weights that fsdp has in hand"),
)  # fmt: skip
