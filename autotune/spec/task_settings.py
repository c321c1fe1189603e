"""The levers ``model`` and ``max_length``, which replace keys of the section ``task``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from autotune.domain.strategy import OF_TASK
from autotune.domain.tasks import TASK_KINDS
from autotune.spec.document import Document, Path
from autotune.spec.models import StudyFile
from autotune.spec.task_section import TaskSpec

OWN_CLASS_EXCLUDES = {
    "model": "task.model_class is a class for one model",
    "parallelism": "the parts of task.model_class are not known",
    "cache_activations": "the parts of task.model_class are not known",
    "distillation": "a teacher would be of task.model_class",
}
"""Levers that are left out with a model class of the user's own, and why."""

CROSS_ENTROPY = "autotune.trial.loss:cross_entropy"


def refer_to_task(file: StudyFile, document: Document) -> StudyFile:
    """``file`` with :data:`OF_TASK` for each setting that is that of the task, so that strategies
    that do the same are equal. A mistake if lengths cannot be searched."""
    _check_functions(file, document)
    own = {"model": file.task.model, "max_length": file.task.max_length}
    if TASK_KINDS[file.task.kind].logits_per_token:
        message = f"texts that are cut lose labels of {file.task.kind}"
        _exclude(file, document, "max_length", message, own)
    elif file.task.stride is not None:
        message = "speeds count windows (task.stride), and shorter ones have less text"
        _exclude(file, document, "max_length", message, own)
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


def compared_setting(text: str, task: TaskSpec) -> str | None:
    """The lever whose setting the condition ``text`` cannot compare: it puts ``model`` or
    ``max_length`` in an order, or equates it with the value that ``task`` has, for which
    strategies have :data:`OF_TASK`. ``None`` if there is none."""
    names_only = re.sub(r"""(['"]).*?\1""", "''", text)
    for lever, value in (("model", task.model), ("max_length", task.max_length)):
        own = rf"""(?<![\w'"]){re.escape(str(value))}(?![\w'"])|(['"]){re.escape(str(value))}\1"""
        orders = rf"\b{lever}\s*[-+*/%<>]|[-+*/%<>]=?\s*{lever}\b"
        equals = rf"\b{lever}\s*[!=]=\s*(?:{own})"
        members = re.findall(rf"\b{lever}\s+in\s*(\[[^\]]*\])", text)
        if re.search(orders, names_only) or re.search(equals, text):
            return lever
        if any(re.search(own, values) for values in members):
            return lever
    return None


def _check_functions(file: StudyFile, document: Document) -> None:
    """A mistake for levers that the user's own code excludes: label smoothing with another loss
    than cross-entropy over classes, cached activations of batches that a collator changes, and
    :data:`OWN_CLASS_EXCLUDES`."""
    task, kind = file.task, TASK_KINDS[file.task.kind]
    if task.loss is not None or kind.loss != CROSS_ENTROPY:
        _exclude(file, document, "label_smoothing", "the loss of this task has no labels to smooth")
    if task.collator is not None:
        message = "activations are those of the data, not of what task.collator makes of it"
        _exclude(file, document, "cache_activations", message)
    if task.model_class is not None:
        for lever, reason in OWN_CLASS_EXCLUDES.items():
            _exclude(file, document, lever, reason)


def _exclude(
    file: StudyFile,
    document: Document,
    lever: str,
    reason: str,
    own: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """A mistake wherever ``file`` sets ``lever``, other than to the task's setting in ``own``."""
    places: list[Path] = [("space",)] if lever in file.space else []
    entries: list[tuple[Path, Mapping[str, Any]]] = [(("baseline",), file.baseline)]
    entries += [(("start_with", index), entry) for index, entry in enumerate(file.start_with)]
    unset = object()
    places += [
        path for path, entry in entries
        if lever in entry and entry[lever] != own.get(lever, unset)
    ]  # fmt: skip
    for path in places:
        document.add_error((*path, lever), f"{reason}; remove {lever}", key=True)


def _referred(entry: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {
        lever: OF_TASK if lever in own and value == own[lever] else value
        for lever, value in entry.items()
    }
