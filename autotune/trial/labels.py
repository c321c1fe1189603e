"""One rule for labels in files of all formats.

A column of labels is normalised before it is parsed: numbers that tables wrote as floats become
integers, rows without a label (-1) are dropped, and numbers that are no classes are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

from autotune.domain import Columns
from autotune.errors import DataError
from autotune.trial.tables import Table

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
LABEL_NUMBER = re.compile(r"([+-]?\d{1,18})(?:\.0*)?", re.ASCII)

UNLABELLED = "-1"
"""The label of rows without one, as in SNLI and in test splits with withheld labels."""

MIN_CLASSES = 3
"""Classes 0, 1, ... beside which -1 means "no label". Beside fewer it can be a class: {-1, 0, 1} is
usual for sentiment."""


def clean_labels(
    tables: Mapping[str, Table], columns: Columns
) -> tuple[dict[str, Table], list[str]]:
    """``tables`` with normalised labels, and notes on what was changed. A split without any label
    is left out. Raises :class:`DataError` for numbers that are no classes."""
    name = columns.label
    labelled = {split: _text_labels(table, name) for split, table in tables.items()}
    if all(labels is None for labels in labelled.values()):
        return dict(tables), []
    names = {label for labels in labelled.values() for label in labels or () if label}
    if names and all(NUMBER.fullmatch(label) for label in names):
        tables = {
            split: _with_integers(table, name, labelled[split]) for split, table in tables.items()
        }
    return _without_unlabelled(tables, name)


def as_integer(label: str) -> str:
    """``1`` for ``1.0``; any other label as it is."""
    match = LABEL_NUMBER.fullmatch(label.strip())
    return label if match is None else str(int(match[1]))


def _text_labels(table: Table, name: str) -> list[str | None] | None:
    """The labels as text, ``None`` for other values; or ``None`` for a column of lists, or no such
    column."""
    values = table.columns.get(name)
    if values is None or any(isinstance(value, list) for value in values):
        return None
    return [_text(value) for value in values]


def _text(value: Any) -> str | None:
    if isinstance(value, float) and isfinite(value):
        value = int(value) if value.is_integer() else str(value)
    is_text = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value).strip() if is_text else None


def _with_integers(table: Table, name: str, labels: Sequence[str | None] | None) -> Table:
    """``table`` with integers for texts such as ``1.0``."""
    if labels is None or name in table.classes:
        return table
    values = []
    for row, (label, value) in enumerate(zip(labels, table.columns[name], strict=True)):
        match = LABEL_NUMBER.fullmatch(label or "")
        if label and match is None:
            raise DataError(
                f"{table.where(row)}: the label is the number {label}; "
                "a class is a name or an integer",
                hint="to predict the number, set task.kind: regression; for classes, write names, "
                "such as 'class 3.8', or integers",
            )
        values.append(value if match is None else int(match[1]))
    return replace(table, columns={**table.columns, name: values})


def _without_unlabelled(
    tables: Mapping[str, Table], name: str
) -> tuple[dict[str, Table], list[str]]:
    """``tables`` without rows whose label is -1, where that cannot be a class."""
    rest: dict[str, Table] = {}
    notes: list[str] = []
    columns = {split: _text_labels(table, name) or [] for split, table in tables.items()}
    is_class = (
        UNLABELLED in columns.get("train", [])
        and not any(table.classes.get(name) for table in tables.values())
        and not _are_classes(label for labels in columns.values() for label in labels)
    )
    for split, table in tables.items():
        labels = columns[split]
        unlabelled = labels.count(UNLABELLED)
        if split != "train" and _is_empty(table.columns.get(name, [])):
            notes.append(f"{split}: no row has a label, so the split is not used")
        elif unlabelled == 0:
            rest[split] = table
        elif is_class:
            rest[split] = table
            notes.append(f"{split}: label -1 is a class here ({unlabelled} rows)")
        elif unlabelled < len(labels) or split == "train":
            rows = [row for row, label in enumerate(labels) if label != UNLABELLED]
            rest[split] = table.take(rows)
            notes.append(f"{split}: {unlabelled} rows without a label (-1) are left out")
        else:
            notes.append(f"{split}: no row has a label (all are -1), so the split is not used")
    return rest, notes


def _is_empty(values: Sequence[Any]) -> bool:
    """Whether all of ``values`` are missing."""
    return bool(values) and all(value is None or value != value for value in values)


def _are_classes(labels: Iterable[str | None]) -> bool:
    """Whether the labels other than -1 are 0, 1, ... of :data:`MIN_CLASSES` classes at least."""
    names = {label for label in labels if label is not None} - {UNLABELLED}
    return len(names) >= MIN_CLASSES and names == set(map(str, range(len(names))))
