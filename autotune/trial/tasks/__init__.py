"""What can be fine-tuned for: one file a kind of task, and one line here."""

from __future__ import annotations

from autotune.errors import UsageError
from autotune.trial.tasks.base import TaskType
from autotune.trial.tasks.text_classification import TextClassification
from autotune.trial.tasks.token_classification import TokenClassification

KINDS: dict[str, TaskType] = {
    "text-classification": TextClassification(),
    "token-classification": TokenClassification(),
}


def task_kind(name: str) -> TaskType:
    """The kind of task that ``task.kind`` names."""
    if name not in KINDS:
        raise UsageError(f"task.kind: unknown {name!r}", hint=f"one of {', '.join(KINDS)}")
    return KINDS[name]
