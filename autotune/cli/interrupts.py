"""Ctrl-C during a search."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from autotune.cli.output import err


@contextmanager
def interruptible(stop: Callable[[], None], abort: Callable[[], None]) -> Iterator[None]:
    """On the first Ctrl-C or SIGTERM, let the running trials finish; on the second, end them now.
    Results are stored in both cases. Outside of the main thread, signals are not handled."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupts = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts == 1:
            stop()
            err.print("finishing the running trial; Ctrl-C again ends it now", style="yellow")
        else:
            abort()

    handlers = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
