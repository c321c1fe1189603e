"""Prepares the data of a task once per machine; trials load it in milliseconds.

:func:`prepare_task` reads and checks the data set, completes the splits, tokenizes them and caches
the tokens under a digest of everything that determines them. :func:`load_split` loads a split.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from autotune.domain import Task, digest
from autotune.domain.tasks import TASK_KINDS
from autotune.errors import DataError
from autotune.trial.data import cache
from autotune.trial.data.class_weights import class_weights
from autotune.trial.data.hub import SPLITS, leave_out_empty_rows
from autotune.trial.data.lengths import (
    AUTO_LIMIT,
    choose_max_length,
    lost_labels_note,
    truncation_note,
)
from autotune.trial.data.prepared import PreparedTask, load_split
from autotune.trial.data.sampling import holdout_rows, stratified_subsample
from autotune.trial.data.sources import Source, find_source
from autotune.trial.data.tokenizer import load_inputs, require_embeddings
from autotune.trial.head import head_note
from autotune.trial.model_sources import ModelSource, attention_note, find_model
from autotune.trial.tables import Table
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.base import Arrays, Examples, TaskType, cut_text

__all__ = ["PreparedTask", "load_split", "prepare_task", "read_examples"]

CACHE_VERSION = 3
"""Increment it when the format of the cached files changes."""

UNPREPARED = ("teacher", "threshold", "model_class")
"""Keys of a task on which its prepared files do not depend."""

DIGEST_CHARACTERS = 16
"""Characters of content hashes: 64 bits."""


def prepare_task(task: Task) -> PreparedTask:
    """Prepare ``task`` on this machine, or return it from the cache.

    Raises :class:`DataError` or :class:`ModelError` for data or a model that cannot be used.
    """
    task_type = get_task_type(task.kind)
    source, model = find_source(task.dataset), find_model(task.model, task.seed)
    key = digest(
        {
            "layout": CACHE_VERSION,
            "task": {k: v for k, v in asdict(task).items() if k not in UNPREPARED}
            | {"epochs": None, "steps": None},
            "rows": source.identity,
            "model": model.identity,
            "versions": [version("tokenizers"), version("transformers")],
        }
    )
    folder = cache.get_or_build(
        "prepared", key, lambda draft: _build(draft, task, task_type, source, model)
    )
    fields = json.loads((folder / "prepared.json").read_bytes())
    fields["model_dir"] = str(folder / fields["model_dir"])  # unchanged if it is absolute
    names = ("label_names", "notes", "class_weights")
    lists = {name: tuple(fields[name]) for name in names if fields[name] is not None}
    return PreparedTask(
        **{**fields, **lists},
        kind=task.kind,
        folder=str(folder),
        loss=task.loss,
        collator=task.collator,
        model_class=task.model_class,
        threshold=task.threshold,
        has_windows=task.stride is not None,
    )


def _build(
    folder: Path, task: Task, task_type: TaskType, source: Source, model: ModelSource
) -> None:
    from safetensors.numpy import save_file

    source_splits, examples, names, notes = _complete_splits(task, task_type, source)
    texts = [cut_text(" ".join(inputs)) for inputs in examples["train"].inputs]
    model_dir = model.install(folder, texts)
    path = folder / model_dir
    max_length = task.max_length or AUTO_LIMIT
    inputs = load_inputs(path, task_type.tokenizer_options, max_length)
    if inputs.max_length < max_length:
        notes.append(f"max_length is {inputs.max_length}, the maximum of the model")
    ids = {name: index for index, name in enumerate(names)}
    if task.max_length is None:
        inputs, note = choose_max_length(inputs, task_type, examples["train"], ids)
        notes.append(note)
    arrays = {
        split: task_type.encode(inputs.tokenizer, rows, ids, inputs.max_length, task.stride)
        for split, rows in examples.items()
    }
    require_embeddings(path, inputs, arrays)
    truncation = truncation_note(inputs, task_type, examples["train"], ids, arrays["train"])
    lost_labels = (
        lost_labels_note(inputs, task_type, examples["validation"], ids, arrays["validation"])
        if TASK_KINDS[task.kind].label_per_token
        else None
    )
    notes += filter(None, (truncation, lost_labels, attention_note(path), head_note(path, names)))
    for split, parts in arrays.items():
        save_file(parts, folder / f"{split}.safetensors")
    fields = {
        "model_dir": model_dir,
        "label_names": names,
        "class_weights": None
        if task.class_weights is None
        else class_weights(task.class_weights, names, arrays["train"]["labels"]),
        "sizes": {split: len(parts["offsets"]) - 1 for split, parts in arrays.items()},
        "max_length": inputs.max_length,
        "pad_token_id": inputs.tokenizer.pad_token_id,
        "has_mask": inputs.has_mask,
        "tokens": _percentiles(arrays["train"]),
        "sources": {split: source.descriptions.get(split, "train") for split in examples}
        | {split: "held out from train" for split in examples if split not in source_splits},
        "notes": notes,
        "data_digest": _content_digest(examples, names),
    }
    (folder / "prepared.json").write_text(json.dumps(fields, indent=1), encoding="utf-8")


def read_examples(task: Task) -> Mapping[str, Examples]:
    """The untokenized examples of each split, in the order of the prepared splits."""
    return _complete_splits(task, get_task_type(task.kind), find_source(task.dataset))[1]


def _complete_splits(
    task: Task, task_type: TaskType, source: Source
) -> tuple[set[str], dict[str, Examples], tuple[str, ...], list[str]]:
    """The names of the given splits, the examples of all splits, the label names, and notes."""
    tables = source.read()
    if source.is_hub:
        tables = leave_out_empty_rows(tables, task.columns)
    tables, label_notes = task_type.clean(declare_labels(tables, task), task.columns)
    examples = {split: parse_rows(task_type, table, task) for split, table in tables.items()}
    names = label_names(task_type, tables, examples, task)
    table_notes = [note for table in tables.values() for note in table.notes]
    examples, notes = fill_splits(task_type, examples, task)
    return {*tables}, examples, names, [*table_notes, *label_notes, *notes]


def declare_labels(tables: Mapping[str, Table], task: Task) -> Mapping[str, Table]:
    """``tables`` with the names of labels that the task gives."""
    if task.labels is None:
        return tables
    return {
        split: replace(table, classes={**table.classes, task.columns.label: task.labels})
        for split, table in tables.items()
    }


def parse_rows(task_type: TaskType, table: Table, task: Task) -> Examples:
    """The examples of a table, which has some."""
    if len(table) == 0:
        raise DataError(f"{table.name}: no rows", hint="name a file with examples")
    return task_type.parse(table, task.columns)


def label_names(
    task_type: TaskType, tables: Mapping[str, Table], examples: Mapping[str, Examples], task: Task
) -> tuple[str, ...]:
    """The labels of the task: those that the data set declares, else those of train."""
    names = task_type.label_names(examples["train"], tables["train"], task.columns)
    train_labels = {
        name for labels in examples["train"].labels for name in task_type.example_labels(labels)
    }
    if len(train_labels) == 1:
        raise DataError(
            f"{tables['train'].name}: only one label, {next(iter(train_labels))!r}; needs two",
            hint="check task.columns.label",
        )
    known_labels = {*names, *train_labels}
    for split in examples:
        for row, labels in enumerate(examples[split].labels):
            if unknown := set(task_type.example_labels(labels)) - known_labels:
                raise DataError(
                    f"{tables[split].where(row)}: label {min(unknown)!r} does not occur in train",
                    hint=f"train has {', '.join(names[:20])}",
                )
    return names


def fill_splits(
    task_type: TaskType, source_examples: Mapping[str, Examples], task: Task
) -> tuple[dict[str, Examples], list[str]]:
    """All three splits with the task's limits applied, and notes on what was done."""
    examples, notes = dict(source_examples), []
    if missing := [split for split in SPLITS if split not in source_examples]:
        train = source_examples["train"]
        rows = holdout_rows(
            [task_type.stratum(label) for label in train.labels], train.inputs, missing, task.seed
        )
        for split, indices in rows.items():
            examples[split] = train.take(indices)
        notes += [f"{split}: {len(rows[split])} rows held out from train" for split in missing]
    limits = {"train": task.train_samples, "validation": task.validation_samples}
    for split, size in limits.items():
        if size is not None and size < len(examples[split]):
            strata = [task_type.stratum(label) for label in examples[split].labels]
            notes.append(f"{split}: {size} of {len(strata)} rows")
            examples[split] = examples[split].take(stratified_subsample(strata, size, task.seed))
    return {split: examples[split] for split in SPLITS}, notes


def _content_digest(examples: Mapping[str, Examples], names: tuple[str, ...]) -> str:
    """A hash of all rows and label names, in order, however their files are named."""
    content = hashlib.sha256(json.dumps(names).encode())
    for split, rows in examples.items():
        content.update(split.encode())
        for pair in zip(rows.inputs, rows.labels, strict=True):
            content.update(json.dumps(pair).encode())
    return content.hexdigest()[:DIGEST_CHARACTERS]


def _percentiles(arrays: Arrays) -> dict[str, int]:
    p50, p95, longest = np.percentile(np.diff(arrays["offsets"]), [50, 95, 100])
    return {"p50": int(p50), "p95": int(p95), "max": int(longest)}
