"""Who runs the trials: the executor that a study file names, and the hardware it brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autotune.cli.output import info
from autotune.domain import ExecutorConfig, Host
from autotune.errors import UsageError
from autotune.ports import Executor


@contextmanager
def open_executor(choice: ExecutorConfig) -> Iterator[tuple[Executor, Host]]:
    """The executor, warming up while the study file is read, and the hardware that it has."""
    executor, hardware = _FACTORIES.get(choice.kind, _local)(choice)
    try:
        host = hardware()
        info(f"hardware: {describe(host)}")
        yield executor, host
    finally:
        executor.close()


def _local(choice: ExecutorConfig) -> tuple[Executor, Callable[[], Host]]:
    from autotune.execution.local import LocalExecutor
    from autotune.hardware import inventory, may_have_gpu

    executor = LocalExecutor(choice.workers)
    # torch, where it has to be asked, is loaded in a worker, never here
    return executor, lambda: executor.call(inventory) if may_have_gpu() else inventory()


def _ray(choice: ExecutorConfig) -> tuple[Executor, Callable[[], Host]]:
    from autotune.execution.ray.executor import RayExecutor
    from autotune.hardware import merge_hosts

    executor = RayExecutor(choice.workers, address=choice.address)

    def hardware() -> Host:
        """What the roomiest node has; each node is shown."""
        found = executor.hosts()
        for name, host in found:
            info(f"node{f' of class {name}' if name else ''}: {describe(host)}")
        return merge_hosts(found)

    return executor, hardware


def _replay(choice: ExecutorConfig) -> tuple[Executor, Callable[[], Host]]:
    """Nobody: a recording says what trials did, on the machine where it was made."""
    from autotune.execution.replay.benchmark import read
    from autotune.execution.replay.executor import ReplayExecutor

    if choice.landscape is None:
        hint = "executor: {kind: replay, landscape: FILE}; docs/landscapes.md"
        raise UsageError("replay needs a recording of trials", hint=hint)
    landscape = read(choice.landscape)
    return ReplayExecutor(landscape, choice.workers), lambda: landscape.host


_FACTORIES = {"ray": _ray, "replay": _replay}


def describe(host: Host) -> str:
    """The hardware in one line."""
    gpus = [f"{device.name} ({device.memory_gib:g} GiB)" for device in host.devices
            if device.kind == "cuda" and device.memory_gib]  # fmt: skip
    gpus += [device.name or device.id for device in host.devices if device.kind == "mps"]
    bf16 = next((flag for flag in host.cpu_flags if "bf16" in flag), None)
    parts = [
        f"{len(host.cores)} cores of {host.cpu or 'an unknown CPU'}",
        f"{host.memory_gib:g} GiB",
        ", ".join(gpus) or "no GPU",
        *([f"bf16 by {bf16}"] if bf16 else []),
    ]
    return ", ".join(parts)
