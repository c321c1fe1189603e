"""Opens the executors. Their names are records of :mod:`autotune.components`.

Each function returns the executor, which warms up meanwhile, and a function that returns its nodes
as pairs of node class (``None`` if nodes have no class) and :class:`~autotune.domain.Host`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from autotune.domain import ExecutorConfig, Host
from autotune.errors import UsageError
from autotune.execution.resources import is_locked
from autotune.ports import Executor

Nodes = Callable[[], Sequence[tuple[str | None, Host]]]


def open_local(config: ExecutorConfig) -> tuple[Executor, Nodes]:
    from autotune.execution.local import LocalExecutor
    from autotune.hardware import inventory, may_have_gpu

    executor = LocalExecutor(config.workers)

    def nodes() -> Sequence[tuple[str | None, Host]]:
        # Only torch can describe a GPU. It is imported in a worker, never in the driver.
        host = executor.call(inventory) if may_have_gpu() else inventory()
        return [(None, _without_busy_memory(host))]

    return executor, nodes


def _without_busy_memory(host: Host) -> Host:
    """``host`` without the free memory of GPUs on which another search runs a trial now: a trial
    of this search waits until that memory is free again."""
    devices = (replace(d, free_gib=None) if is_locked(d.id) else d for d in host.devices)
    return replace(host, devices=tuple(devices))


def open_ray(config: ExecutorConfig) -> tuple[Executor, Nodes]:
    from autotune.execution.ray.executor import RayExecutor

    executor = RayExecutor(config.workers, address=config.address)
    return executor, executor.hosts


def open_replay(config: ExecutorConfig) -> tuple[Executor, Nodes]:
    from autotune.execution.replay.benchmark import read
    from autotune.execution.replay.executor import ReplayExecutor

    if config.landscape is None:
        hint = "executor: {kind: replay, landscape: FILE}; docs/landscapes.md"
        raise UsageError("the replay executor needs a recording of trials", hint=hint)
    benchmark = read(config.landscape)
    return ReplayExecutor(benchmark, config.workers), lambda: [(None, benchmark.host)]
