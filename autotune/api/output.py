"""What a search called from Python prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from autotune.analysis.snapshot import Snapshot
from autotune.api.callbacks import Callback, CallbackObserver
from autotune.domain import Study, Trial
from autotune.ports import Observer


@contextmanager
def quiet_unless(progress: bool) -> Iterator[None]:
    """Print notes to stderr only with ``progress``."""
    from autotune.cli.output import err

    quiet = err.quiet
    err.quiet = not progress
    try:
        yield
    finally:
        err.quiet = quiet


@contextmanager
def observe(
    study: Study, trials: Sequence[Trial], callbacks: Sequence[Callback], progress: bool
) -> Iterator[Observer]:
    """The terminal and the callbacks as one observer."""
    from autotune.cli.live import LiveView
    from autotune.tracking import CompositeObserver

    own: list[Observer] = [CallbackObserver(callbacks, study, trials)] if callbacks else []
    if not progress:
        yield CompositeObserver(own)
        return
    with LiveView(Snapshot(study, trials)) as view:
        yield CompositeObserver([view, *own])
