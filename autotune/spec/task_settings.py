"""The levers ``model`` and ``max_length``, which replace keys of the section ``task``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.domain.strategy import OF_TASK
from autotune.domain.tasks import TASK_KINDS
from autotune.spec.document import Document
from autotune.spec.models import StudyFile


def refer_to_task(file: StudyFile, document: Document) -> StudyFile:
    """``file`` with :data:`OF_TASK` for each setting that is that of the task, so that strategies
    that do the same are equal. A mistake if lengths cannot be searched."""
    if "max_length" in file.space and TASK_KINDS[file.task.kind].logits_per_token:
        message = f"texts that are cut lose labels of {file.task.kind}; set task.max_length"
        document.add_error(("space", "max_length"), message, key=True)
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


def _referred(entry: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {
        lever: OF_TASK if lever in own and value == own[lever] else value
        for lever, value in entry.items()
    }
