"""Levers of where work runs: the device, its threads and the memory allocator beneath them."""

from __future__ import annotations

from autotune.domain import Choice, Host, Range, Value
from autotune.levers.base import MEMORY, SPEED, Lever, Pattern, influences

MAX_THREADS = 1024


def _best_device(host: Host) -> Value:
    """The device Hugging Face's Trainer would pick: the first accelerator, else the CPU."""
    kinds = {device.kind: device.id for device in reversed(host.devices)}
    return kinds.get("cuda") or kinds.get("mps") or "cpu"


def _device_missing(host: Host, value: Value) -> str | None:
    if host.device(str(value)) is not None:
        return None
    return f"no device {value} on this host (found: {', '.join(d.id for d in host.devices)})"


def _devices(host: Host) -> Choice:
    return Choice(tuple(device.id for device in host.devices))


def _all_cores(host: Host) -> Value:
    return len(host.cores)


def _too_many_threads(host: Host, value: Value) -> str | None:
    if isinstance(value, str) or value <= len(host.cores):
        return None
    return f"{value} threads on {len(host.cores)} cores would share cores"


def _thread_counts(host: Host) -> Choice:
    cores = len(host.cores)
    powers = [2**exponent for exponent in range(cores.bit_length()) if 2**exponent <= cores]
    return Choice(tuple(sorted({*powers, cores})))


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
    domain=Choice(("system", "tuned")),
    default="system",
    influences=influences(SPEED, MEMORY),
    unavailable=_no_glibc,
)
