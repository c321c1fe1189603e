"""Whether a search runs, and how its last session ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from autotune.domain.trial import State

DRIVER_LOST = "its driver went away without an end"


class SearchState(StrEnum):
    """Where a search stands. ``KILLED`` is never stored: the search should run, and nobody drives
    it."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    KILLED = "killed"


@dataclass(frozen=True)
class SearchStatus:
    """The state of a search, and the reason why its last session ended."""

    state: SearchState
    reason: str | None = None


def current_status(
    stored: SearchStatus | None,
    counts: Mapping[State, int],
    last_sign: datetime,
    now: datetime,
    seconds: float,
) -> SearchStatus | None:
    """What ``stored``, the status that a driver recorded last, means at ``now``. A search is alive
    if its study changed, or a driver reported, within ``seconds``: ``last_sign``. ``None`` for an
    ended search of before the status was recorded, and for one that has not begun.
    """
    # Negative if the clock was set back.
    is_alive = abs(now - last_sign) < timedelta(seconds=seconds)
    if stored is None:
        is_running = counts.get(State.RUNNING) or (is_alive and counts)
        return SearchStatus(SearchState.RUNNING) if is_running else None
    is_open = stored.state is SearchState.RUNNING
    if is_alive and (is_open or counts.get(State.RUNNING)):
        return SearchStatus(SearchState.RUNNING)
    return SearchStatus(SearchState.KILLED, DRIVER_LOST) if is_open else stored
