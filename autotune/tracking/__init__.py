"""Trackers: copies of a search for TensorBoard, MLflow and Weights & Biases.

A tracker is one file here and one line in :data:`TRACKERS`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.domain import CurvePoint, Study, Trial
from autotune.domain.text import suggest
from autotune.errors import AutotuneError, UsageError
from autotune.ports import Observer
from autotune.tracking.base import Tracker
from autotune.tracking.mlflow import MLflow
from autotune.tracking.tensorboard import TensorBoard
from autotune.tracking.wandb import Wandb

logger = logging.getLogger(__name__)

TRACKERS: Mapping[str, Callable[[Study, Path], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": lambda study, directory: MLflow(study),
    "wandb": Wandb,
}


class CompositeObserver:
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)

    def started(self, trial: Trial) -> None:
        self._notify(lambda observer: observer.started(trial))

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        self._notify(lambda observer: observer.progressed(trial, point))

    def finished(self, trial: Trial) -> None:
        self._notify(lambda observer: observer.finished(trial))

    def _notify(self, call: Callable[[Any], None]) -> None:
        for observer in list(self._observers):
            call(observer)


class TrackerGroup(CompositeObserver):
    """Several trackers as one. A tracker that fails is dropped: it must not end a search whose
    results are in the store."""

    def __init__(self, names: Sequence[str], study: Study, directory: Path) -> None:
        """Open the trackers of these names, with their files below ``directory``.

        :raises UsageError: for an unknown name, or if a tracker cannot be opened.
        """
        for name in names:
            if name not in TRACKERS:
                raise UsageError(f"cannot log to {name!r}", hint=suggest(name, TRACKERS))
        super().__init__([_open(name, study, directory) for name in names])

    def close(self, study: Study, trials: Sequence[Trial]) -> None:
        """End the search in each tracker; see :meth:`Tracker.close`."""
        self._notify(lambda tracker: tracker.close(study, trials))

    def _notify(self, call: Callable[[Any], None]) -> None:
        for tracker in list(self._observers):
            try:
                call(tracker)
            except Exception as error:  # services raise exceptions of any kind
                logger.warning("logging to %s is off: %s", type(tracker).__name__, error)
                self._observers.remove(tracker)


def _open(name: str, study: Study, directory: Path) -> Tracker:
    try:
        return TRACKERS[name](study, directory)
    except AutotuneError:
        raise
    except Exception as error:  # services raise exceptions of any kind
        hint = f"fix this, or drop --log-to {name}"
        raise UsageError(f"cannot log to {name}: {error}", hint=hint) from error


__all__ = ["TRACKERS", "CompositeObserver", "Tracker", "TrackerGroup"]
