"""The processes of a parallel trial: started, listened to, and ended as one.

The worker of a parallel trial trains nothing. It forks one process a rank, hands each its place as
torchrun would (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``...), and waits. The first rank to fail
ends all of them, and the trial's outcome names it. Ranks are in the worker's process group, so
whatever ends the trial ends them too. A trial may have such a worker on each of several machines,
with a share of the ranks.
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
from autotune.levers.parallelism import layout
from autotune.ports import Evaluate, Report

GRACE_SECONDS = 1.0
"""How long the other ranks may take to show which of them is at the root of a failure."""

PATIENCE_SECONDS = 120.0
"""How long a rank waits for the others in a collective, where the trial has no shorter limit."""

SHARE_OF_LIMIT = 0.25
"""A trial with a time limit waits no longer than this share of it, so that a hang has a name."""


class Rank:
    """One process as its worker sees it. ``outcome`` is set once it is known."""

    def __init__(self, number: int, pid: int, connection: Connection) -> None:
        self.number, self.pid, self.connection = number, pid, connection
        self.outcome: Outcome | None = None
        self.last_word = time.monotonic()
        self.ended = False

    def lost(self) -> None:
        """Take note of a process that ended without an outcome."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.ended = True
        if self.outcome is None:
            self.outcome = outcomes.of_exit(code, None)

    @property
    def killed(self) -> bool:
        return isinstance(self.outcome, Failed) and self.outcome.failure == FailureReason.CRASH

    @property
    def failed(self) -> bool:
        return self.outcome is not None and not isinstance(self.outcome, Completed | Pruned)


def is_parallel(job: Job) -> bool:
    """Whether the job's strategy asks for more than one process."""
    return layout(job.strategy.get("parallelism", "none")).world > 1


def patience(job: Job) -> float:
    """Seconds that a rank of ``job`` waits in a collective before it gives the others up."""
    minutes = job.limits.minutes
    return PATIENCE_SECONDS if minutes is None else min(
        PATIENCE_SECONDS, SHARE_OF_LIMIT * 60 * minutes
    )  # fmt: skip


def ignore_port(port: int) -> None:
    """Nobody else needs to know where ranks meet."""


class RankLauncher:
    """All processes of one trial, or the ``share`` of them that runs here; ``opened`` is told the
    port at which they meet, where it is opened here."""

    def __init__(
        self,
        evaluate: Evaluate,
        job: Job,
        share: RankRange | None = None,
        opened: Callable[[int], None] = ignore_port,
    ) -> None:
        world = layout(job.strategy.get("parallelism", "none")).world
        self._share = share = share or RankRange(0, world)
        self._patience = patience(job)
        # Once for all of them: it takes a second, and no thread is started by it.
        importlib.import_module("autotune.trial.distributed.pipeline")
        importlib.import_module("autotune.trial.distributed.parallelize")
        self._ranks: list[Rank] = []
        with nullcontext() if share.meeting else socket.create_server((share.here, 0)) as door:
            _set_rendezvous_env(world, share, door, self._patience)
            for number in range(share.first, share.first + share.count):
                self._ranks.append(self._fork(number, evaluate, job, door))
            if door is not None:
                opened(door.getsockname()[1])

    @property
    def pids(self) -> list[int]:
        return [rank.pid for rank in self._ranks]

    def wait(self, report: Report) -> Outcome:
        """Pass progress on to ``report`` until all ranks are done or one has failed."""
        try:
            while all(not rank.failed for rank in self._ranks):
                if all(rank.outcome is not None for rank in self._ranks):
                    return self._ranks[0].outcome or Failed(
                        FailureReason.ERROR, "rank 0 returned nothing"
                    )
                self._listen(report, None)
            return self._root_cause(report)
        finally:
            self._end()

    def _listen(self, report: Report, timeout: float | None) -> None:
        living = {rank.connection: rank for rank in self._ranks if not rank.ended}
        for connection in wait(list(living), timeout):
            assert isinstance(connection, Connection)
            rank = living[connection]
            try:
                message = connection.recv()
            except (EOFError, ConnectionError):
                rank.lost()
                continue
            rank.last_word, before = time.monotonic(), rank.last_word
            match message:
                case CurvePoint() if rank.number == 0:
                    reason = report(message)
                    if message.metrics:
                        connection.send(reason)
                case Ended(outcome):
                    rank.outcome = outcome
                    rank.last_word = before

    def _root_cause(self, report: Report) -> Outcome:
        """Find the rank that failed first of itself: the others fail for want of it."""
        first = next(rank for rank in self._ranks if rank.failed)
        silent_for = time.monotonic() - first.last_word
        until = time.monotonic() + GRACE_SECONDS
        while (left := until - time.monotonic()) > 0 and not all(r.ended for r in self._ranks):
            self._listen(lambda point: None, left)
        waited_in_vain = silent_for >= self._patience
        hung = [rank for rank in self._ranks if rank.outcome is None]
        killed = [rank for rank in self._ranks if rank.killed]
        if killed:
            return _naming(killed[0])
        if waited_in_vain and hung:
            reason = f"rank {hung[0].number} hangs: the others waited {self._patience:g} s for it"
            return Failed(FailureReason.ERROR, reason)
        return _naming(first)

    def _end(self) -> None:
        for rank in self._ranks:
            if not rank.ended:
                os.kill(rank.pid, signal.SIGKILL)
                rank.lost()
            rank.connection.close()

    def _fork(self, number: int, evaluate: Evaluate, job: Job, door: socket.socket | None) -> Rank:
        ours, theirs = Pipe()
        pid = os.fork()
        if pid == 0:
            for other in (ours, *(rank.connection for rank in self._ranks)):
                other.close()
            if number > 0 and door is not None:
                door.close()
            _become_rank(number, number - self._share.first, evaluate, job, theirs)
        theirs.close()
        return Rank(number, pid, ours)


def _naming(rank: Rank) -> Outcome:
    outcome = rank.outcome
    assert outcome is not None and not isinstance(outcome, Completed)
    return replace(outcome, reason=f"rank {rank.number}: {outcome.reason}")


def _set_rendezvous_env(
    world: int, share: RankRange, door: socket.socket | None, patience_seconds: float
) -> None:
    """Say in the environment where ranks meet. Rank 0 takes over the open ``door`` itself, so no
    other trial can come between choosing a port and using it."""
    host, port = share.meeting or (share.here, 0)
    if door is not None:
        port = door.getsockname()[1]
        os.environ["MASTER_DOOR"] = str(door.fileno())
    os.environ.update(
        WORLD_SIZE=str(world),
        LOCAL_WORLD_SIZE=str(share.count),
        MASTER_ADDR=host,
        MASTER_PORT=str(port),
        COLLECTIVE_SECONDS=str(patience_seconds),
    )
    if share.here.startswith("127."):
        os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
        return
    interface = _interface(share.here)
    if interface is not None:
        os.environ.update(GLOO_SOCKET_IFNAME=interface, NCCL_SOCKET_IFNAME=interface)


def _interface(address: str) -> str | None:
    """The network interface that has ``address``."""
    for name, found in psutil.net_if_addrs().items():
        if any(one.address == address for one in found):
            return str(name)
    return None


def _become_rank(
    number: int, local: int, evaluate: Evaluate, job: Job, connection: Connection
) -> NoReturn:
    """Run the trial as rank ``number``, which is the ``local``-th on this machine, and end;
    everything here happens in the rank."""
    os.environ.update(RANK=str(number), LOCAL_RANK=str(local))
    if number > 0:
        os.environ.pop("MASTER_DOOR", None)
    if job.strategy.get("pinning", "cores") == "cores" and hasattr(os, "sched_setaffinity"):
        cores = cores_of(local, job.resources.threads, job.cores)
        if cores:
            os.sched_setaffinity(0, cores)

    def report(point: CurvePoint) -> str | None:
        connection.send(point)
        answer: str | None = connection.recv() if point.metrics else None
        return answer

    try:
        memory.forget()
        connection.send(Ended(_evaluated(evaluate, job, report)))
        sys.stdout.flush()
    finally:
        os._exit(0)


def _evaluated(evaluate: Evaluate, job: Job, report: Report) -> Outcome:
    try:
        return evaluate(job, report)
    except (DriverDisconnected, EOFError, BrokenPipeError):
        raise
    except BaseException as error:
        outcome = outcomes.of_exception(error, None)
        traceback.print_exc()
        return outcome


def cores_of(number: int, threads: int, cores: Sequence[int]) -> tuple[int, ...]:
    """The cores of rank ``number`` of a machine: neighbours, of one NUMA node as far as they go."""
    ordered = list(_by_node(cores))
    return tuple(ordered[number * threads : (number + 1) * threads])


def _by_node(cores: Sequence[int]) -> Iterator[int]:
    from autotune.hardware.host import numa_nodes

    nodes: list[Any] = [[core for core in node if core in cores] for node in numa_nodes()]
    known = {core for node in nodes for core in node}
    yield from (core for node in nodes for core in node)
    yield from (core for core in cores if core not in known)
