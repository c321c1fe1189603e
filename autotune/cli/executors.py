"""Opens the executor that a study file names and lists its hardware."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from autotune.cli.output import info
from autotune.components import EXECUTORS
from autotune.domain import ExecutorConfig, Host
from autotune.domain.registry import import_object
from autotune.hardware import inventory, merge_hosts
from autotune.ports import Executor


@contextmanager
def open_executor(config: ExecutorConfig) -> Iterator[tuple[Executor, Host]]:
    """The executor and the hardware that it runs trials on. It is closed at the end."""
    executor, nodes = import_object(EXECUTORS.find(config.kind).factory)(config)
    try:
        host = _hardware(nodes())
        info(f"hardware: {describe(host)}")
        yield executor, host
    finally:
        executor.close()


def find_host(config: ExecutorConfig) -> Host:
    """The hardware on which the executor of ``config`` runs trials: that of this machine, or what a
    cluster or a recorded landscape has, which is asked."""
    if config.kind == "local" or (config.kind == "ray" and config.address is None):
        return inventory()
    with open_executor(config) as (_, host):
        return host


def _hardware(nodes: Sequence[tuple[str | None, Host]]) -> Host:
    """One host for all nodes, each of which is listed if there are several or node classes."""
    if len(nodes) == 1 and nodes[0][0] is None:
        return nodes[0][1]
    for name, host in nodes:
        info(f"node{f' of class {name}' if name else ''}: {describe(host)}")
    return merge_hosts(nodes)


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
