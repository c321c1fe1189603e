"""Checks the levers of distillation and ``task.teacher``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autotune.domain.losses import TEACHER_OUTPUTS
from autotune.spec.document import Document, Path
from autotune.spec.models import StudyFile

LEVER = "distillation"


def needs_own_teacher(file: StudyFile) -> bool:
    """Whether trials learn from a model of the study itself."""
    return LEVER in file.space and file.task.teacher is None


def check_teacher(file: StudyFile, document: Document) -> None:
    """Record a teacher that nothing uses, distillation of a task that has none, and strategies that
    would run before there is a teacher."""
    places = list(_places(file))
    if file.task.teacher is not None and LEVER not in file.space and not places:
        message = f"no trial learns from it; search {LEVER}, or remove teacher"
        document.add_error(("task", "teacher"), message, key=True)
    if LEVER in file.space:
        places.append(("space",))
    for path in places:
        if file.task.kind not in TEACHER_OUTPUTS:
            message = f"{file.task.kind} cannot be distilled; remove {LEVER}"
            document.add_error((*path, LEVER), message, key=True)
        elif file.task.teacher is None and path != ("space",):
            message = "there is no teacher yet when it runs; name one: task.teacher"
            document.add_error((*path, LEVER), message, key=True)
    if needs_own_teacher(file) and file.keep.models == "none":
        message = "a model of the study is the teacher of others: keep front or all, or name one: "
        document.add_error(("keep",), f"{message}task.teacher", key=True)


def _places(file: StudyFile) -> Iterator[Path]:
    """The strategies of the file that distil."""
    if file.baseline.get(LEVER, 0) != 0:
        yield ("baseline",)
    for index, entry in enumerate(file.start_with):
        if entry.get(LEVER, _fixed_weight(file)) != 0:
            yield ("start_with", index)


def _fixed_weight(file: StudyFile) -> Any:
    """The weight that the space gives all strategies but the baseline; 0 if it is searched."""
    values = file.space[LEVER].values if LEVER in file.space else 0
    if isinstance(values, list):
        return values[0] if len(values) == 1 else 0
    return values if isinstance(values, int | float) else 0
