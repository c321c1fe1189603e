"""The processes of a parallel trial: starts them, receives their messages, and ends them together.

The worker of a parallel trial does not train. It forks one process for each rank, sets the
environment as torchrun does (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``...), and waits. The first
rank to fail ends all of them, and the outcome names it. Ranks are in the worker's process group, so
whatever ends the trial ends them too. A trial can have such a worker on each of several nodes, each
with a range of the ranks.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NoReturn

import psutil

from autotune.domain import Completed, CurvePoint, Failed, FailureReason, Job, Outcome, Pruned
from autotune.execution import memory, outcomes
from autotune.execution.messages import DriverDisconnected, Ended, RankRange
from autotune.levers.layout import layout
from autotune.ports import Evaluate, Report

GRACE_SECONDS = 1.0
"""How long the other ranks have to report the root cause of a failure before they are killed."""

MAX_COLLECTIVE_SECONDS = 120.0
"""Timeout of a collective operation, unless the trial's time limit requires a shorter one."""

COLLECTIVE_FRACTION_OF_LIMIT = 0.25
"""The timeout is at most this fraction of the trial's time limit, so that a hanging rank is found
before the trial times out."""

LAUNCHER_VARIABLES = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR",
    "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
)  # fmt: skip
"""Set by torchrun and mpirun, and by users who imitate them."""

RANK_MODULES = ("autotune.trial.distributed.pipeline", "autotune.trial.distributed.parallelize")
"""Modules that the ranks need. The worker imports them once, before it forks: that takes a second,
and starts no thread."""


class Rank:
    """One rank as seen by its worker. ``outcome`` is set once it is known."""

    def __init__(self, number: int, pid: int, connection: Connection) -> None:
        self.number, self.pid, self.connection = number, pid, connection
        self.outcome: Outcome | None = None
        self.last_message_at = time.monotonic()
        self.ended = False

    def collect(self) -> None:
        """Wait for the end of the process. If it reported no outcome, derive it from the exit
        code."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.ended = True
        if self.outcome is None:
            self.outcome = outcomes.of_exit(code, None)

    @property
    def crashed(self) -> bool:
        return isinstance(self.outcome, Failed) and self.outcome.failure == FailureReason.CRASH

    @property
    def failed(self) -> bool:
        return self.outcome is not None and not isinstance(self.outcome, Completed | Pruned)


def is_parallel(job: Job) -> bool:
    """Whether the job's strategy has more than one process."""
    return layout(job.strategy.get("parallelism", "none")).world > 1


def remove_launcher_variables() -> None:
    """Remove the ranks that a launcher gave to the driver: they are not those of a trial."""
    for name in LAUNCHER_VARIABLES:
        os.environ.pop(name, None)


def collective_timeout_seconds(job: Job) -> float:
    """How long a rank of ``job`` waits for the others in a collective operation."""
    if job.limits.minutes is None:
        return MAX_COLLECTIVE_SECONDS
    return min(MAX_COLLECTIVE_SECONDS, COLLECTIVE_FRACTION_OF_LIMIT * 60 * job.limits.minutes)


def ignore_port(port: int) -> None:
    """Ignore the rendezvous port: all ranks are on this node."""


class RankLauncher:
    """Starts all ranks of a trial, or the given ``ranks``, and waits for them.

    ``on_port`` receives the rendezvous port if it is opened here.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        job: Job,
        ranks: RankRange | None = None,
        on_port: Callable[[int], None] = ignore_port,
    ) -> None:
        world = layout(job.strategy.get("parallelism", "none")).world
        self._range = ranks = ranks or RankRange(0, world)
        self._timeout_seconds = collective_timeout_seconds(job)
        for module in RANK_MODULES:
            importlib.import_module(module)
        self._ranks: list[Rank] = []
        with _listen(ranks) as listener:
            _set_rendezvous_env(world, ranks, listener, self._timeout_seconds)
            for number in range(ranks.first, ranks.first + ranks.count):
                self._ranks.append(self._fork(number, evaluate, job, listener))
            if listener is not None:
                on_port(listener.getsockname()[1])

    @property
    def pids(self) -> list[int]:
        return [rank.pid for rank in self._ranks]

    def wait(self, report: Report) -> Outcome:
        """Forward progress to ``report`` until all ranks have ended or one has failed."""
        try:
            while all(not rank.failed for rank in self._ranks):
                if all(rank.outcome is not None for rank in self._ranks):
                    return self._ranks[0].outcome or Failed(
                        FailureReason.ERROR, "rank 0 returned nothing"
                    )
                self._receive(report, None)
            return self._root_cause(report)
        finally:
            self._end()

    def _receive(self, report: Report, timeout: float | None) -> None:
        running = {rank.connection: rank for rank in self._ranks if not rank.ended}
        for connection in wait(list(running), timeout):
            assert isinstance(connection, Connection)
            rank = running[connection]
            try:
                message = connection.recv()
            except (EOFError, ConnectionError):
                rank.collect()
                continue
            rank.last_message_at, previous = time.monotonic(), rank.last_message_at
            match message:
                case CurvePoint() if rank.number == 0:
                    reason = report(message)
                    if message.metrics:
                        connection.send(reason)
                case Ended(outcome):
                    rank.outcome = outcome
                    rank.last_message_at = previous

    def _root_cause(self, report: Report) -> Outcome:
        """The outcome of the rank that failed first: the others fail because it is missing."""
        first = next(rank for rank in self._ranks if rank.failed)
        silent_seconds = time.monotonic() - first.last_message_at
        deadline = time.monotonic() + GRACE_SECONDS
        while (left := deadline - time.monotonic()) > 0 and not all(r.ended for r in self._ranks):
            self._receive(report, left)
        timed_out = silent_seconds >= self._timeout_seconds
        silent = [rank for rank in self._ranks if rank.outcome is None]
        crashed = [rank for rank in self._ranks if rank.crashed]
        if crashed:
            return _with_rank(crashed[0])
        if timed_out and silent:
            waited = f"the others waited {self._timeout_seconds:g} s for it"
            return Failed(FailureReason.ERROR, f"rank {silent[0].number} hangs: {waited}")
        return _with_rank(first)

    def _end(self) -> None:
        for rank in self._ranks:
            if not rank.ended:
                os.kill(rank.pid, signal.SIGKILL)
                rank.collect()
            rank.connection.close()

    def _fork(
        self, number: int, evaluate: Evaluate, job: Job, listener: socket.socket | None
    ) -> Rank:
        ours, theirs = Pipe()
        pid = os.fork()
        if pid == 0:
            for other in (ours, *(rank.connection for rank in self._ranks)):
                other.close()
            if number > 0 and listener is not None:
                listener.close()
            _run_rank(number, number - self._range.first, evaluate, job, theirs)
        theirs.close()
        return Rank(number, pid, ours)


def _with_rank(rank: Rank) -> Outcome:
    """The outcome of a failed rank, with the rank in its reason."""
    outcome = rank.outcome
    assert outcome is not None and not isinstance(outcome, Completed)
    return replace(outcome, reason=f"rank {rank.number}: {outcome.reason}")


def _listen(ranks: RankRange) -> socket.socket | nullcontext[None]:
    """The listening socket of the rendezvous; none if it is on another node."""
    return nullcontext() if ranks.rendezvous else socket.create_server((ranks.address, 0))


def _set_rendezvous_env(
    world: int, ranks: RankRange, listener: socket.socket | None, timeout_seconds: float
) -> None:
    """Set the environment variables of torch's rendezvous.

    Rank 0 inherits the listening socket itself (``MASTER_LISTEN_FD``), so that no other trial can
    take the port between choosing and using it.
    """
    host, port = ranks.rendezvous or (ranks.address, 0)
    if listener is not None:
        port = listener.getsockname()[1]
        os.environ["MASTER_LISTEN_FD"] = str(listener.fileno())
    os.environ.update(
        WORLD_SIZE=str(world),
        LOCAL_WORLD_SIZE=str(ranks.count),
        MASTER_ADDR=host,
        MASTER_PORT=str(port),
        COLLECTIVE_TIMEOUT_SECONDS=str(timeout_seconds),
    )
    if ranks.address.startswith("127."):
        os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
        return
    interface = _interface(ranks.address)
    if interface is not None:
        os.environ.update(GLOO_SOCKET_IFNAME=interface, NCCL_SOCKET_IFNAME=interface)


def _interface(address: str) -> str | None:
    """The network interface with ``address``."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in addresses):
            return str(name)
    return None


def _run_rank(
    number: int, local: int, evaluate: Evaluate, job: Job, connection: Connection
) -> NoReturn:
    """Run the trial as rank ``number`` (``local`` on this node) and exit. Runs in the child."""
    os.environ.update(RANK=str(number), LOCAL_RANK=str(local))
    if number > 0:
        os.environ.pop("MASTER_LISTEN_FD", None)
    if job.strategy.get("pinning", "cores") == "cores" and hasattr(os, "sched_setaffinity"):
        cores = rank_cores(local, job.resources.threads, job.cores)
        if cores:
            os.sched_setaffinity(0, cores)

    def report(point: CurvePoint) -> str | None:
        connection.send(point)
        answer: str | None = connection.recv() if point.metrics else None
        return answer

    try:
        memory.clear_errno()
        connection.send(Ended(_evaluate(evaluate, job, report)))
        sys.stdout.flush()
    finally:
        os._exit(0)


def _evaluate(evaluate: Evaluate, job: Job, report: Report) -> Outcome:
    try:
        return evaluate(job, report)
    except (DriverDisconnected, EOFError, BrokenPipeError):
        raise
    except BaseException as error:
        outcome = outcomes.of_exception(error, None)
        traceback.print_exc()
        return outcome


def rank_cores(local_rank: int, threads: int, cores: Sequence[int]) -> tuple[int, ...]:
    """The cores of a rank: adjacent, and of one NUMA node where possible."""
    ordered = list(_by_numa_node(cores))
    return tuple(ordered[local_rank * threads : (local_rank + 1) * threads])


def _by_numa_node(cores: Sequence[int]) -> Iterator[int]:
    from autotune.hardware.host import numa_nodes

    nodes: list[Any] = [[core for core in node if core in cores] for node in numa_nodes()]
    in_nodes = {core for node in nodes for core in node}
    yield from (core for node in nodes for core in node)
    yield from (core for core in cores if core not in in_nodes)
