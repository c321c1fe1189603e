"""The threshold of predictions: above which probability a label applies, or when a question has no
answer.

It is 0.5 or 0 unless the task gives another (``task.threshold``). ``auto`` tunes it on the
validation split. A test split is scored with the threshold of validation, never with one of its
own.
"""

from __future__ import annotations

import numpy as np

from autotune.domain.tasks import TUNED
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.split import Split
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.base import ThresholdTask


def choose_threshold(prepared: PreparedTask, split: Split, values: np.ndarray) -> float | None:
    """The threshold of the task. If it is tuned, it is that with the best score of ``values``, the
    predictions for ``split``. ``None`` for the usual one."""
    if isinstance(prepared.threshold, float):
        return prepared.threshold
    if prepared.threshold != TUNED:
        return None
    return _threshold_task(prepared.kind).tune_threshold(split, values)


def apply_threshold(
    kind: str, split: Split, values: np.ndarray, threshold: float | None
) -> np.ndarray:
    """``values``, the predictions for ``split``, moved so that the usual threshold of the ``kind``
    of task decides as ``threshold`` does."""
    if threshold is None:
        return values
    return _threshold_task(kind).apply_threshold(split, values, threshold)


def _threshold_task(kind: str) -> ThresholdTask:
    task_type = get_task_type(kind)
    assert isinstance(task_type, ThresholdTask)  # the study file was checked
    return task_type
