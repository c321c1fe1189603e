"""How long the trials of this driver ran, by a clock that nobody sets."""

from __future__ import annotations

from collections.abc import Callable

from autotune.domain.clock import monotonic_seconds


class Durations:
    """Seconds from the start to the first outcome of each trial that this process runs.

    The clock of a host or a server can be set while a trial runs; its duration is not the
    difference of two times then. ``clock`` returns seconds since any moment.
    """

    def __init__(self, clock: Callable[[], float] = monotonic_seconds) -> None:
        self._clock = clock
        self._starts: dict[tuple[str, int], float] = {}
        self._seconds: dict[tuple[str, int], float] = {}

    def start(self, study: str, number: int) -> None:
        """A trial starts now."""
        self._starts[study, number] = self._clock()
        self._seconds.pop((study, number), None)

    def seconds(self, study: str, number: int) -> float | None:
        """Seconds until the first call for this trial; ``None`` if another process started it."""
        start = self._starts.get((study, number))
        if start is None:
            return None
        return self._seconds.setdefault((study, number), self._clock() - start)

    def record(self, study: str, number: int, seconds: float) -> None:
        """A trial that another process started had its outcome after ``seconds``."""
        self._starts.setdefault((study, number), self._clock() - seconds)
        self._seconds[study, number] = seconds
