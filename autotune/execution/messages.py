"""What a driver and its worker say to each other over their private socket.

Driver to worker: one order, then an answer (a reason or ``None``) to every rung. Worker to driver:
curve points as they are, memory samples, where its ranks meet, and one last word (:class:`Ended` or
:class:`Raised`).
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
    """The ranks of a trial that run on one of its machines: ``count`` of them, from ``first`` on.
    The machine has the address ``here``; all ranks meet at ``meeting``, or, where that is ``None``,
    at a door that this worker opens and tells of (:class:`Opened`)."""

    first: int
    count: int
    here: str = "127.0.0.1"
    meeting: tuple[str, int] | None = None


@dataclass(frozen=True)
class RunTrial:
    """Run one job; ``memory_gib`` is the resident memory it may hold.

    ``environment`` is set before anything of the job runs. ``claim`` is how many cores the worker
    is to claim by itself, where nobody has set any aside for the job. ``share`` are the ranks to
    run, by default all.
    """

    job: Job
    evaluate: Evaluate
    memory_gib: float
    environment: Mapping[str, str] = field(default_factory=dict)
    claim: int = 0
    share: RankRange | None = None


@dataclass(frozen=True)
class Call:
    """Call a function once."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class MemorySamples:
    """Memory held over time: (seconds since the trial began, GiB)."""

    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class RendezvousPort:
    """The port at which the ranks of a trial meet."""

    port: int


@dataclass(frozen=True)
class Ended:
    """The last word of a worker that kept control: an outcome, or what a function returned."""

    result: Any


@dataclass(frozen=True)
class Raised:
    """The last word of a worker that could not do what it was ordered."""

    error: AutotuneError


Message = CurvePoint | MemorySamples | RendezvousPort | Ended | Raised
"""What a worker says."""


class DriverDisconnected(BaseException):
    """The driver has hung up: nobody wants the result. Not an ``Exception``, so that a trial that
    handles errors of its own does not carry on for nobody."""


class Channel:
    """The worker's end. Its threads share it, so a send is one at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def fileno(self) -> int:
        return self._connection.fileno()

    def receive(self) -> Any:
        """Wait for the driver's next message."""
        try:
            return self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise DriverDisconnected from error

    def send(
        self,
        message: CurvePoint | MemorySamples | RendezvousPort | Ended | Raised,
        timeout: float = -1,
    ) -> bool:
        """Send, waiting ``timeout`` seconds (-1: for ever) for another thread's send to end."""
        if not self._sending.acquire(timeout=timeout):
            return False
        try:
            self._connection.send(message)
        except ConnectionError as error:
            raise DriverDisconnected from error
        finally:
            self._sending.release()
        return True
