"""The logits of a teacher for the training examples, which trials with ``distillation`` learn.

The teacher is the model that the task names, or the most accurate one of the study. It predicts
once for each length of texts: the logits are a file in the folder of the study, whose name follows
from the content of the teacher's model and of the data as prepared, and all trials read it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedModel

from autotune.deployment import trained_model
from autotune.domain import Job, Task, digest
from autotune.errors import ModelError, Unsupported
from autotune.measure import memory
from autotune.trial.data.batching import Collator, chunks
from autotune.trial.data.datasets import prepare_task
from autotune.trial.data.prepared import PreparedTask, load_split
from autotune.trial.head import has_trained_head
from autotune.trial.loss import kind_of, output_logits
from autotune.trial.model_files import MODEL, has_model
from autotune.trial.model_sources import model_files
from autotune.trial.models import load_model
from autotune.trial.recorder import TrialRecorder
from autotune.trial.split import Split

BATCH_SIZE = 32

LOGITS = "logits"
"""Name of the tensor in the file."""


@dataclass(frozen=True)
class TeacherModel:
    """The model in ``folder`` with the data of its own tokenizer. ``name`` is for readers,
    ``identity`` a hash of its content."""

    folder: Path
    prepared: PreparedTask
    name: str
    identity: str

    @property
    def is_trained_here(self) -> bool:
        """Whether a trial wrote it: then pruning may have changed its shape."""
        return (self.folder / trained_model.TASK).exists()


def teacher_logits(
    job: Job, split: Split, device: torch.device, recorder: TrialRecorder
) -> np.ndarray:
    """The logits of the teacher of ``job`` for the training examples ``split``: float32
    ``[examples, labels]``, or ``[tokens, labels]`` where each token has a label.

    Raises :class:`Unsupported` if there is no teacher, or if it is one for other examples, and
    :class:`ModelError` if it has not been trained for the labels of the task.
    """
    teacher = _find_teacher(job)
    own_split = load_split(teacher.prepared, "train")
    _require_same_examples(teacher, own_split, split)
    key = digest([teacher.identity, Path(teacher.prepared.folder).name])
    path = Path(job.directory).parent / f"teacher-{key}.safetensors"
    logits = _read(path)
    if logits is None:
        with memory.excluded_from_peak(), torch.random.fork_rng(devices=[]):
            logits = _predict(teacher, own_split, device, job.task.seed)
        _write(path, logits)
        recorder.add_event("teacher", f"{teacher.name} predicted {len(split)} training examples")
    recorder.environment["teacher"] = f"{teacher.name}, {teacher.identity[:16]}"
    return logits


def require_teacher(task: Task) -> None:
    """Raise :class:`ModelError` if ``task`` names a teacher that cannot be used."""
    if task.teacher is not None:
        _require_trained(_named_teacher(task, task.teacher))


def _named_teacher(task: Task, name: str) -> TeacherModel:
    prepared = prepare_task(replace(task, model=name))
    folder = Path(prepared.model_dir)
    return TeacherModel(folder, prepared, name, _content_hash(folder))


def _find_teacher(job: Job) -> TeacherModel:
    if job.task.teacher is not None:
        return _named_teacher(job.task, job.task.teacher)
    teacher = job.teacher
    if teacher is None or not has_model(Path(teacher.folder), teacher.model):
        problem = "no trial has it"
        if teacher is not None:
            problem = f"{Path(teacher.folder) / MODEL} is missing here or damaged"
        raise Unsupported(
            f"distillation needs the model of a teacher: {problem}",
            hint="name one in the study file: task.teacher",
        )
    folder = Path(teacher.folder) / MODEL
    name = f"trial {teacher.trial}"
    return TeacherModel(folder, prepare_task(teacher.task), name, teacher.model.digest)


def _content_hash(folder: Path) -> str:
    content = hashlib.sha256()
    for path in sorted(model_files(folder)):
        content.update(path.name.encode() + b"\0" + path.read_bytes())
    return content.hexdigest()


def _require_same_examples(teacher: TeacherModel, own: Split, split: Split) -> None:
    """Raise unless each example (or token, where they have labels) of the two is the same."""
    by_token = kind_of(teacher.prepared).logits_per_token
    if len(own) != len(split) or (by_token and not np.array_equal(own.offsets, split.offsets)):
        raise Unsupported(
            f"the teacher ({teacher.name}) divides the texts into other tokens or windows",
            hint="name a teacher with the tokenizer of the model: task.teacher",
        )


def _predict(teacher: TeacherModel, split: Split, device: torch.device, seed: int) -> np.ndarray:
    prepared, kind = teacher.prepared, kind_of(teacher.prepared)
    model = _load(teacher, seed).to(device)  # type: ignore[arg-type]
    model.eval()
    collate = Collator(split, prepared.pad_token_id, device, has_mask=prepared.has_mask)
    count = len(split.tokens) if kind.logits_per_token else len(split)
    logits = np.zeros((count, prepared.num_labels), np.float32)
    with torch.inference_mode():
        for rows in chunks(np.argsort(split.lengths, kind="stable"), BATCH_SIZE):
            values = output_logits(model(**collate(rows).inputs)).float()
            split.scatter(rows, values.numpy(force=True), logits, kind.logits_per_token)
    return logits


def _load(teacher: TeacherModel, seed: int) -> PreTrainedModel:
    """The model, in fp32."""
    _require_trained(teacher)
    if teacher.is_trained_here:
        return trained_model.load(teacher.folder)
    return load_model(teacher.prepared, seed=seed)


def _require_trained(teacher: TeacherModel) -> None:
    """Raise :class:`ModelError` unless the model was trained for the labels of the task."""
    folder, prepared = teacher.folder, teacher.prepared
    if teacher.is_trained_here:
        facts = trained_model.read_facts(folder)
        is_trained = (facts.kind, facts.labels) == (prepared.kind, prepared.label_names)
    else:
        is_trained = has_trained_head(folder, prepared.label_names)
    if is_trained:
        return
    raise ModelError(
        f"the teacher {teacher.name} was not trained for the labels of the task: "
        f"{', '.join(prepared.label_names[:5])}",
        hint="name a model that was fine-tuned for them: task.teacher",
    )


def _read(path: Path) -> np.ndarray | None:
    """The logits in ``path``; ``None`` if they are missing or damaged."""
    try:
        return load_file(path)[LOGITS]
    except (OSError, SafetensorError, KeyError):
        return None


def _write(path: Path, logits: np.ndarray) -> None:
    """Trials that run at the same time write the same; the last one stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file({LOGITS: logits}, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
