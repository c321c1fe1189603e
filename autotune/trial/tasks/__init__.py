"""The implementations of task kinds. Their records are in :mod:`autotune.domain.tasks`."""

from __future__ import annotations

from functools import cache

from autotune.domain.registry import import_object
from autotune.domain.tasks import TASK_KINDS
from autotune.trial.tasks.base import TaskType


@cache
def get_task_type(name: str) -> TaskType:
    """The implementation of the task kind ``name``."""
    task_type: TaskType = import_object(TASK_KINDS.find(name).implementation)()
    return task_type
