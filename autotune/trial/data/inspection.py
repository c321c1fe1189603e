"""A quick look at the data of a task without torch, a model or a network, for ``validate``."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from autotune.domain import Task
from autotune.domain.paths import expand_home
from autotune.domain.tasks import TASK_KINDS
from autotune.errors import DataError
from autotune.trial.data.datasets import (
    declare_labels,
    fill_splits,
    label_names,
    parse_rows,
)
from autotune.trial.data.sources import find_source
from autotune.trial.tables import DIALECTS, Table, read_table, require_unique, unlimited_fields
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.base import get_column

MAX_BYTES = 32 * 2**20
"""Files up to this size are read as a whole, which takes a second or two."""
MAX_LISTED_LABELS = 8


@dataclass(frozen=True)
class DataFacts:
    """``sizes`` are the rows of the splits that were read, ``labels`` the names of labels in train,
    where they have some. ``notes`` are for the user."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """The facts in one line; empty if nothing was read."""
        if not self.sizes:
            return ""
        sizes = ", ".join(f"{count:,} {split}" for split, count in self.sizes.items())
        names = ", ".join(self.labels[:MAX_LISTED_LABELS])
        more = ", ..." if len(self.labels) > MAX_LISTED_LABELS else ""
        labels = f", {len(self.labels)} labels ({names}{more})" if self.labels else ""
        return f"{sizes} examples{labels}"


def inspect_data(task: Task) -> DataFacts:
    """Open the files of ``task`` and check their columns, texts and labels. Raises
    :class:`DataError` with the location of what cannot be used. Data sets of the hub and built-in
    ones are opened by the search only."""
    if isinstance(task.dataset, str) and task.dataset.startswith("builtin:"):
        find_source(task.dataset)  # the name
        return DataFacts()
    hub_name = task.dataset if isinstance(task.dataset, str) else task.dataset.get("hub")
    if hub_name is not None and not Path(hub_name).exists():
        return DataFacts(notes=(f"{hub_name} is loaded from the hub when the search starts",))
    find_source(task.dataset)  # split names and files
    files = {} if isinstance(task.dataset, str) else task.dataset
    paths = {split: expand_home(file) for split, file in files.items()}
    large = [path for path in paths.values() if path.stat().st_size > MAX_BYTES]
    if large:
        for path in paths.values():
            _check_columns(task, path)
        return DataFacts(notes=(f"{large[0]} is large; its rows are checked by the search",))
    return _read_all(task, {split: read_table(path) for split, path in paths.items()})


def _read_all(task: Task, files: Mapping[str, Table]) -> DataFacts:
    kind = get_task_type(task.kind)
    tables, label_notes = kind.clean(declare_labels(files, task), task.columns)
    examples = {split: parse_rows(kind, table, task) for split, table in tables.items()}
    notes = list(label_notes)
    notes += [note for table in tables.values() for note in table.notes]
    for split, limit in (("train", task.train_samples), ("validation", task.validation_samples)):
        if split in examples and limit is not None and limit < len(examples[split]):
            count = len(examples[split])
            notes.append(
                f"task.{split}_samples: only {limit:,} of {count:,} {split} examples are used"
            )
    names = label_names(kind, tables, examples, task)
    fill_splits(kind, examples, task)  # enough rows
    labels = names if TASK_KINDS[task.kind].has_labels else ()
    sizes = {split: len(rows) for split, rows in examples.items()}
    return DataFacts(sizes, labels, tuple(notes))


def _check_columns(task: Task, path: Path) -> None:
    """Check that ``path`` has the columns of the task, from its first row."""
    row = _first_row(path)
    first = {"train": Table(str(path), {name: [value] for name, value in row.items()})}
    table = get_task_type(task.kind).clean(first, task.columns)[0].get("train", first["train"])
    columns = {"text": task.columns.text, "label": task.columns.label}
    if task.columns.text_pair is not None:
        columns["text_pair"] = task.columns.text_pair
    for key, name in columns.items():
        get_column(table, name, key)


def _first_row(path: Path) -> Mapping[str, Any]:
    """The first row of a file by column."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return _first_parquet_row(path)
        with path.open(encoding="utf-8-sig", newline="") as file, unlimited_fields():
            if suffix in DIALECTS:
                names, *rows = islice(csv.reader(file, **DIALECTS[suffix]), 2)
                require_unique(names, f"{path}:1")
                return dict(zip(names, rows[0] if rows else [""] * len(names), strict=False))
            row = _first_object(file)
    except (ValueError, csv.Error, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be read: {error}", hint="look at its first line"
        ) from error
    return row if isinstance(row, dict) else {}


def _first_object(file: TextIO) -> Any:
    """The first object of JSON Lines, or of one array of objects."""
    line = next((line for line in file if line.strip()), "{}")
    if not line.lstrip().startswith("["):
        return json.loads(line)
    text = (line + file.read(MAX_BYTES)).lstrip().removeprefix("[").lstrip()
    return json.JSONDecoder().raw_decode(text)[0]


def _first_parquet_row(path: Path) -> Mapping[str, Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        batches = file.iter_batches(batch_size=1)
        rows: list[dict[str, Any]] = next((batch.to_pylist() for batch in batches), [])
    except (pyarrow.ArrowException, ArithmeticError) as error:
        raise ValueError(error) from error
    return rows[0] if rows else dict.fromkeys(file.schema_arrow.names)
