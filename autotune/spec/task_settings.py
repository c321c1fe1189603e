"""The levers ``model`` and ``max_length``, which replace keys of the section ``task``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.domain.strategy import OF_TASK
from autotune.domain.tasks import TASK_KINDS
from autotune.spec.document import Document, Path
from autotune.spec.models import StudyFile

LEVER, CROSS_ENTROPY = "label_smoothing", "autotune.trial.loss:cross_entropy"


def refer_to_task(file: StudyFile, document: Document) -> StudyFile:
    """``file`` with :data:`OF_TASK` for each setting that is that of the task, so that strategies
    that do the same are equal. A mistake if lengths cannot be searched."""
    if "max_length" in file.space and TASK_KINDS[file.task.kind].logits_per_token:
        message = f"texts that are cut lose labels of {file.task.kind}; set task.max_length"
        document.add_error(("space", "max_length"), message, key=True)
    _check_label_smoothing(file, document)
    own = {"model": file.task.model, "max_length": file.task.max_length}
    space = dict(file.space)
    for lever in own.keys() & space.keys():
        values = space[lever].values
        entries = values if isinstance(values, list) else [values]
        referred = [OF_TASK if value == own[lever] else value for value in entries]
        changed = referred if isinstance(values, list) else referred[0]
        space[lever] = space[lever].model_copy(update={"values": changed})
    return file.model_copy(
        update={
            "space": space,
            "baseline": _referred(file.baseline, own),
            "start_with": [_referred(entry, own) for entry in file.start_with],
        }
    )


def _check_label_smoothing(file: StudyFile, document: Document) -> None:
    """A mistake for label smoothing with another loss than cross-entropy over classes."""
    task, kind = file.task, TASK_KINDS[file.task.kind]
    if task.loss is None and kind.loss == CROSS_ENTROPY:
        return
    sections = {"space": file.space, "baseline": file.baseline}
    places: list[Path] = [(name,) for name, settings in sections.items() if LEVER in settings]
    places += [("start_with", n) for n, entry in enumerate(file.start_with) if LEVER in entry]
    for path in places:
        message = f"the loss of this task has no labels to smooth; remove {LEVER}"
        document.add_error((*path, LEVER), message, key=True)


def _referred(entry: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {
        lever: OF_TASK if lever in own and value == own[lever] else value
        for lever, value in entry.items()
    }
