"""Copies of a search for TensorBoard, MLflow and Weights & Biases: one file and one line each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from autotune.domain import CurvePoint, Study, Trial
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


class TrackerGroup:
    """Several trackers as one."""

    def __init__(self, names: Sequence[str], study: Study, directory: Path) -> None:
        """Open the trackers of these names; files go below ``directory``. Raises
        :class:`UsageError` for a name that is none, and for one that cannot be opened."""
        for name in names:
            if name not in TRACKERS:
                near = get_close_matches(name, TRACKERS, n=1)
                hint = f"one of {', '.join(TRACKERS)}"
                raise UsageError(
                    f"cannot log to {name!r}",
                    hint=f"did you mean {near[0]}? {hint}" if near else hint,
                )
        self._trackers = [_opened(name, study, directory) for name in names]

    def started(self, trial: Trial) -> None:
        self._each(lambda tracker: tracker.started(trial))

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        self._each(lambda tracker: tracker.progressed(trial, point))

    def finished(self, trial: Trial) -> None:
        self._each(lambda tracker: tracker.finished(trial))

    def close(self, study: Study, trials: Sequence[Trial]) -> None:
        self._each(lambda tracker: tracker.close(study, trials))

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        """Tell every tracker. One that fails, whatever its service raises, is told no more: it must
        not end a search whose results are safe in the store."""
        for tracker in list(self._trackers):
            try:
                tell(tracker)
            except Exception as error:
                name = type(tracker).__name__
                logger.warning("%s is left out from now on: %s", name, error)
                self._trackers.remove(tracker)


def _opened(name: str, study: Study, directory: Path) -> Tracker:
    try:
        return TRACKERS[name](study, directory)
    except AutotuneError:
        raise
    except Exception as error:  # whatever its service raises
        hint = f"mend that, or search without --log-to {name}"
        raise UsageError(f"cannot log to {name}: {error}", hint=hint) from error


@dataclass(frozen=True)
class CompositeObserver:
    """Several observers of one search."""

    observers: Sequence[Observer]

    def started(self, trial: Trial) -> None:
        for observer in self.observers:
            observer.started(trial)

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        for observer in self.observers:
            observer.progressed(trial, point)

    def finished(self, trial: Trial) -> None:
        for observer in self.observers:
            observer.finished(trial)


__all__ = ["TRACKERS", "CompositeObserver", "Tracker", "TrackerGroup"]
