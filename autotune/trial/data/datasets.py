"""Prepares the data of a task once per machine; trials load it in milliseconds.

:func:`prepare_task` reads and checks the data set, completes the splits, tokenizes them and caches
the tokens under a digest of everything that determines them. :func:`load_split` loads a split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from autotune.domain import Task, digest
from autotune.errors import DataError, ModelError
from autotune.trial.data import cache
from autotune.trial.data.prepared import PreparedTask, load_split
from autotune.trial.data.sampling import holdout_rows, stratified_subsample
from autotune.trial.data.sources import SPLITS, Source, find_source
from autotune.trial.model_sources import ModelSource, find_model
from autotune.trial.tables import Table
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.base import Arrays, Examples, TaskType

__all__ = ["PreparedTask", "load_split", "prepare_task", "read_examples"]

CACHE_VERSION = 1
"""Increment it when the format of the cached files changes."""

VOCABULARY_FILES = ("tokenizer.json", "vocab.*", "*.model")
"""Vocabulary files of tokenizers; a model has one of them."""

OFFSET_POSITIONS = {"camembert", "data2vec-text", "mpnet", "roberta", "xlm-roberta", "xmod"}
"""Model types that count positions from the padding token, and so cannot use the first ones."""


def prepare_task(task: Task) -> PreparedTask:
    """Prepare ``task`` on this machine, or return it from the cache.

    Raises :class:`DataError` or :class:`ModelError` for data or a model that cannot be used.
    """
    task_type = get_task_type(task.kind)
    source, model = find_source(task.dataset), find_model(task.model, task.seed)
    key = digest(
        {
            "layout": CACHE_VERSION,
            "task": asdict(task) | {"epochs": None, "steps": None},
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
    lists = {name: tuple(fields[name]) for name in ("label_names", "notes")}
    return PreparedTask(**{**fields, **lists}, kind=task.kind, folder=str(folder))


def _build(
    folder: Path, task: Task, task_type: TaskType, source: Source, model: ModelSource
) -> None:
    from safetensors.numpy import save_file

    source_splits, examples, names, notes = _complete_splits(task, task_type, source)
    model_dir = model.install(folder, [" ".join(inputs) for inputs in examples["train"].inputs])
    tokenizer, max_length = _tokenizer(folder / model_dir, task_type, task.max_length)
    if max_length < task.max_length:
        notes.append(f"max_length is {max_length}, the maximum of the model")
    ids = {name: index for index, name in enumerate(names)}
    arrays = {s: task_type.encode(tokenizer, rows, ids, max_length) for s, rows in examples.items()}
    for split, parts in arrays.items():
        save_file(parts, folder / f"{split}.safetensors")
    fields = {
        "model_dir": model_dir,
        "label_names": names,
        "sizes": {split: len(rows) for split, rows in examples.items()},
        "max_length": max_length,
        "pad_token_id": tokenizer.pad_token_id,
        "tokens": _percentiles(arrays["train"]),
        "sources": {split: source.descriptions.get(split, "train") for split in examples}
        | {split: "held out from train" for split in examples if split not in source_splits},
        "notes": notes,
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
    examples = {split: _parse(task_type, table, task) for split, table in tables.items()}
    names = _label_names(task_type, tables, examples, task)
    examples, notes = _fill_splits(task_type, examples, task)
    return {*tables}, examples, names, notes


def _parse(task_type: TaskType, table: Table, task: Task) -> Examples:
    if len(table) == 0:
        raise DataError(f"{table.name}: no rows", hint="name a file with examples")
    return task_type.parse(table, task.columns)


def _label_names(
    task_type: TaskType, tables: Mapping[str, Table], examples: Mapping[str, Examples], task: Task
) -> tuple[str, ...]:
    """The labels of the task: those that the data set declares, else those of train."""
    names = task_type.label_names(examples["train"], tables["train"], task.columns)
    train_labels = {
        name for labels in examples["train"].labels for name in task_type.example_labels(labels)
    }
    if len(train_labels) < 2:
        raise DataError(
            f"{tables['train'].name}: only one label, {next(iter(train_labels))!r}; needs two",
            hint="check task.columns.label",
        )
    for split in examples:
        for row, labels in enumerate(examples[split].labels):
            if unknown := set(task_type.example_labels(labels)) - train_labels:
                raise DataError(
                    f"{tables[split].where(row)}: label {min(unknown)!r} does not occur in train",
                    hint=f"train has {', '.join(names[:20])}",
                )
    return names


def _fill_splits(
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


def _tokenizer(model_dir: Path, task_type: TaskType, max_length: int) -> tuple[Any, int]:
    """The model's tokenizer, and ``max_length`` limited to the positions of the model."""
    from transformers import AutoConfig, AutoTokenizer

    # Without a vocabulary file, transformers creates an empty one.
    if not any(path for pattern in VOCABULARY_FILES for path in model_dir.glob(pattern)):
        raise ModelError(
            f"{model_dir}: no tokenizer here ({', '.join(VOCABULARY_FILES)})",
            hint="save the tokenizer in the same directory: tokenizer.save_pretrained(DIRECTORY)",
        )
    try:
        config = AutoConfig.from_pretrained(model_dir, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(
            model_dir, local_files_only=True, **task_type.tokenizer_options
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{model_dir}: the tokenizer cannot be loaded: {str(error).splitlines()[0]}",
            hint="the directory needs the files of the tokenizer and of the model",
        ) from error
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"{model_dir}: the tokenizer has no padding token",
            hint="add pad_token to its tokenizer_config.json",
        )
    positions = getattr(config, "max_position_embeddings", None) or max_length
    if config.model_type in OFFSET_POSITIONS:
        positions -= tokenizer.pad_token_id + 1
    return tokenizer, min(max_length, positions, tokenizer.model_max_length)


def _percentiles(arrays: Arrays) -> dict[str, int]:
    p50, p95, longest = np.percentile(np.diff(arrays["offsets"]), [50, 95, 100])
    return {"p50": int(p50), "p95": int(p95), "max": int(longest)}
