"""A thread beside every trial that ends it when it holds too much memory or its driver is gone."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

from autotune.domain import FailureReason, Infeasible
from autotune.execution.memory import resident_gib
from autotune.execution.messages import Channel, DriverDisconnected, Ended, MemorySamples

INTERVAL_SECONDS = 0.2
SAMPLES_PER_MESSAGE = 5
GRACE_SECONDS = 1.0


class MemoryWatchdog:
    """Watches every 0.2 s from :meth:`start` until its process ends: that process, or the ranks
    that do its work."""

    def __init__(self, channel: Channel, limit_gib: float) -> None:
        self._channel = channel
        self._limit_gib = limit_gib
        self._began = time.monotonic()
        self._unsent: list[tuple[float, float]] = []
        self._ranks: tuple[int, ...] = ()

    def start(self, ranks: Sequence[int] = ()) -> None:
        """Begin; ``ranks`` are the processes to watch in place of this one, by id."""
        self._ranks = tuple(ranks)
        threading.Thread(target=self._watch, name="guard", daemon=True).start()

    def flush(self, timeout: float = -1) -> None:
        """Send the memory samples taken since the last time."""
        samples, self._unsent = self._unsent, []
        if samples:
            self._channel.send(MemorySamples(tuple(samples)), timeout)

    def _watch(self) -> None:
        # Only a hang-up is asked for: the main thread alone reads answers from this socket.
        lifeline = select.poll()
        lifeline.register(self._channel.fileno(), 0)
        with contextlib.suppress(DriverDisconnected):
            while not lifeline.poll(INTERVAL_SECONDS * 1000):
                self._sample()
        end_group()

    def _sample(self) -> None:
        each = [resident_gib(pid) for pid in self._ranks]
        held = sum(each) if each else resident_gib()
        self._unsent.append((time.monotonic() - self._began, held))
        if held > self._limit_gib:
            self._end_for_memory(held, each)
        if len(self._unsent) >= SAMPLES_PER_MESSAGE:
            self.flush()

    def _end_for_memory(self, held: float, each: Sequence[float]) -> NoReturn:
        reason = f"held {held:.2f} GiB of host memory, the limit is {self._limit_gib:.2f} GiB"
        if each:
            most = max(range(len(each)), key=each.__getitem__)
            reason += f"; rank {most} held the most, {each[most]:.2f} GiB"
        self.flush(GRACE_SECONDS)
        self._channel.send(Ended(Infeasible(FailureReason.OUT_OF_MEMORY, reason)), GRACE_SECONDS)
        end_group()


def end_group() -> NoReturn:
    """End this process and everything it has started, at once."""
    os.killpg(0, signal.SIGKILL)
    os._exit(1)
