"""The data of a task, made ready once per machine and loaded by every trial in milliseconds.

:func:`prepare` reads and checks the data set, settles the splits, and keeps the word pieces in the
cache. What it made is found again by a digest of everything that matters, without reading or
importing any of it. :func:`load_split` is what a trial calls.
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
from autotune.trial.data.tables import Table
from autotune.trial.model_sources import ModelSource, find_model
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.base import Arrays, Examples, TaskType

__all__ = ["PreparedTask", "load_split", "prepare_task", "read_examples"]

LAYOUT = 1
"""Raised when the files below would be written otherwise."""

VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model")
"""Where tokenizers keep what they know; a model comes with one of them."""

OFFSET_POSITIONS = {"camembert", "data2vec-text", "mpnet", "roberta", "xlm-roberta", "xmod"}
"""Models that count positions from the padding token on, so that the first ones are never used."""


def prepare_task(task: Task) -> PreparedTask:
    """Make ``task`` ready on this machine, or find it ready.

    Raises :class:`DataError` or :class:`ModelError` for what cannot be used.
    """
    kind = get_task_type(task.kind)
    source, model = find_source(task.dataset), find_model(task.model, task.seed)
    key = digest(
        {
            "layout": LAYOUT,
            "task": asdict(task) | {"epochs": None, "steps": None},
            "rows": source.identity,
            "model": model.identity,
            "versions": [version("tokenizers"), version("transformers")],
        }
    )
    folder = cache.get_or_build(
        "prepared", key, lambda draft: _build(draft, task, kind, source, model)
    )
    facts = json.loads((folder / "prepared.json").read_bytes())
    facts["model_dir"] = str(folder / facts["model_dir"])  # its own, where that is absolute
    lists = {name: tuple(facts[name]) for name in ("label_names", "notes")}
    return PreparedTask(**{**facts, **lists}, kind=task.kind, folder=str(folder))


def _build(folder: Path, task: Task, kind: TaskType, source: Source, model: ModelSource) -> None:
    from safetensors.numpy import save_file

    given, examples, names, notes = _complete_splits(task, kind, source)
    model_dir = model.install(folder, [" ".join(inputs) for inputs in examples["train"].inputs])
    tokenizer, max_length = _tokenizer(folder / model_dir, kind, task.max_length)
    if max_length < task.max_length:
        notes.append(f"max_length is {max_length}, the most that the model takes")
    ids = {name: index for index, name in enumerate(names)}
    arrays = {s: kind.encode(tokenizer, rows, ids, max_length) for s, rows in examples.items()}
    for split, parts in arrays.items():
        save_file(parts, folder / f"{split}.safetensors")
    facts = {
        "model_dir": model_dir,
        "label_names": names,
        "sizes": {split: len(rows) for split, rows in examples.items()},
        "max_length": max_length,
        "pad_token_id": tokenizer.pad_token_id,
        "tokens": _percentiles(arrays["train"]),
        "sources": {split: source.descriptions.get(split, "train") for split in examples}
        | {split: "carved from train" for split in examples if split not in given},
        "notes": notes,
    }
    (folder / "prepared.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def read_examples(task: Task) -> Mapping[str, Examples]:
    """The rows of each split, still in words and with names of labels, in the order in which
    :func:`prepare` keeps their word pieces."""
    return _complete_splits(task, get_task_type(task.kind), find_source(task.dataset))[1]


def _complete_splits(
    task: Task, kind: TaskType, source: Source
) -> tuple[set[str], dict[str, Examples], tuple[str, ...], list[str]]:
    """The splits that were given, all splits, the labels, and what had to be done for that."""
    tables = source.read()
    examples = {split: _parse(kind, table, task) for split, table in tables.items()}
    names = _label_names(kind, tables, examples, task)
    examples, notes = _settle_splits(kind, examples, task)
    return {*tables}, examples, names, notes


def _parse(kind: TaskType, table: Table, task: Task) -> Examples:
    if len(table) == 0:
        raise DataError(f"{table.name}: no rows", hint="name a file that holds examples")
    return kind.parse(table, task.columns)


def _label_names(
    kind: TaskType, tables: Mapping[str, Table], examples: Mapping[str, Examples], task: Task
) -> tuple[str, ...]:
    """The labels of the task: those of train, or those that the data set declares."""
    names = kind.label_names(examples["train"], tables["train"], task.columns)
    seen = {name for labels in examples["train"].labels for name in kind.example_labels(labels)}
    if len(seen) < 2:
        raise DataError(
            f"{tables['train'].name}: only one label, {next(iter(seen))!r}: nothing to learn",
            hint="check task.columns.label",
        )
    for split in examples:
        for row, labels in enumerate(examples[split].labels):
            if unseen := set(kind.example_labels(labels)) - seen:
                raise DataError(
                    f"{tables[split].where(row)}: label {min(unseen)!r} does not occur in train",
                    hint=f"train has {', '.join(names[:20])}",
                )
    return names


def _settle_splits(
    kind: TaskType, given: Mapping[str, Examples], task: Task
) -> tuple[dict[str, Examples], list[str]]:
    """All three splits, capped, and what had to be done for that."""
    examples, notes = dict(given), []
    if absent := [split for split in SPLITS if split not in given]:
        train = given["train"]
        rows = holdout_rows(
            [kind.stratum(label) for label in train.labels], train.inputs, absent, task.seed
        )
        for split, chosen in rows.items():
            examples[split] = train.take(chosen)
        notes += [f"{split}: {len(rows[split])} rows carved from train" for split in absent]
    caps = {"train": task.train_samples, "validation": task.validation_samples}
    for split, size in caps.items():
        if size is not None and size < len(examples[split]):
            strata = [kind.stratum(label) for label in examples[split].labels]
            notes.append(f"{split}: {size} of {len(strata)} rows")
            examples[split] = examples[split].take(stratified_subsample(strata, size, task.seed))
    return {split: examples[split] for split in SPLITS}, notes


def _tokenizer(model_dir: Path, kind: TaskType, max_length: int) -> tuple[Any, int]:
    """The model's tokenizer, and ``max_length`` or less where the model has fewer positions."""
    from transformers import AutoConfig, AutoTokenizer

    # without its vocabulary, transformers makes one up that knows no word
    if not any(path for pattern in VOCABULARIES for path in model_dir.glob(pattern)):
        raise ModelError(
            f"{model_dir}: no tokenizer here ({', '.join(VOCABULARIES)})",
            hint="save the tokenizer beside the model: tokenizer.save_pretrained(DIRECTORY)",
        )
    try:
        config = AutoConfig.from_pretrained(model_dir, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(
            model_dir, local_files_only=True, **kind.tokenizer_options
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{model_dir}: the tokenizer cannot be loaded: {str(error).splitlines()[0]}",
            hint="the directory needs the tokenizer's files beside the model's",
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
