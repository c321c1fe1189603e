"""The messages between a driver and its worker, over the private socket of the worker.

Driver to worker: one :class:`RunTrial` or :class:`Call`, then an answer (a reason to stop or
``None``) to every rung. Worker to driver: curve points, memory samples, the rendezvous port of its
ranks, and one final message (:class:`Ended` or :class:`Raised`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from autotune.domain import CurvePoint, Job
from autotune.errors import AutotuneError
from autotune.ports import Evaluate


@dataclass(frozen=True)
class RankRange:
    """The ranks of a trial that run on one node: ``count`` ranks from ``first`` on.

    ``address`` is that of the node. ``rendezvous`` is host and port where all ranks meet; if it is
    ``None``, this worker opens a port and reports it (:class:`RendezvousPort`).
    """

    first: int
    count: int
    address: str = "127.0.0.1"
    rendezvous: tuple[str, int] | None = None


@dataclass(frozen=True)
class RunTrial:
    """Run one job with at most ``memory_gib`` of resident memory.

    ``environment`` is set before any code of the job runs. ``cores_to_lock`` is the number of cores
    that the worker locks itself, where the driver has reserved none. ``ranks`` are the ranks to
    run; by default all.
    """

    job: Job
    evaluate: Evaluate
    memory_gib: float
    environment: Mapping[str, str] = field(default_factory=dict)
    cores_to_lock: int = 0
    ranks: RankRange | None = None


@dataclass(frozen=True)
class Call:
    """Call a function once."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class MemorySamples:
    """Resident memory over time: (seconds since the start of the trial, GiB)."""

    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class RendezvousPort:
    """The port at which the ranks of a trial meet."""

    port: int


@dataclass(frozen=True)
class Ended:
    """Final message of a worker that exited normally: the outcome, or the function's result."""

    result: Any


@dataclass(frozen=True)
class Raised:
    """Final message of a worker that could not execute its order."""

    error: AutotuneError


Message = CurvePoint | MemorySamples | RendezvousPort | Ended | Raised
"""What a worker sends."""


class DriverDisconnected(BaseException):
    """The connection to the driver is lost. Not an ``Exception``, so that the error handling of a
    trial does not catch it and continue without a driver."""


class Channel:
    """The worker's end of the connection. Its threads send one at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._send_lock = threading.Lock()

    def fileno(self) -> int:
        return self._connection.fileno()

    def receive(self) -> Any:
        """Wait for the driver's next message."""
        try:
            return self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise DriverDisconnected from error

    def send(self, message: Message, timeout: float = -1) -> bool:
        """Send a message; ``False`` if another thread was still sending after ``timeout`` seconds
        (-1: wait without limit)."""
        if not self._send_lock.acquire(timeout=timeout):
            return False
        try:
            self._connection.send(message)
        except ConnectionError as error:
            raise DriverDisconnected from error
        finally:
            self._send_lock.release()
        return True
