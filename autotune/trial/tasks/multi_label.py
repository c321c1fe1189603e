"""Several labels for each text, or pair of texts: each of them applies or not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autotune.domain import Columns, Measurement
from autotune.errors import DataError
from autotune.trial import metrics
from autotune.trial.labels import as_integer
from autotune.trial.split import Split
from autotune.trial.tables import Table
from autotune.trial.tasks.base import (
    Arrays,
    Examples,
    class_name,
    get_column,
    parse_label,
    sort_labels,
)
from autotune.trial.tasks.texts import TextTask, encode_texts, join_windows, parse_texts

SEPARATOR = ","
"""Separates the names of labels in a text, as in CSV files."""

THRESHOLDS = np.arange(1, 100) / 100
"""Probabilities that are tried: finer steps would fit the noise of the validation split."""

USUAL_THRESHOLD = 0.5

NO_LABEL = "(none)"
"""The stratum of examples without labels."""


class MultiLabel(TextTask):
    """Inputs are ``(text,)`` or ``(text, text_pair)``; labels are a tuple of names, which can be
    empty.

    The column of labels has lists of names, or texts with names separated by commas.
    """

    problem_type = "multi_label_classification"

    def clean(
        self, tables: Mapping[str, Table], columns: Columns
    ) -> tuple[dict[str, Table], list[str]]:
        """No label is a valid label, so nothing is left out."""
        return dict(tables), []

    def parse(self, table: Table, columns: Columns) -> Examples:
        values = get_column(table, columns.label, "label")
        classes = table.classes.get(columns.label)
        labels = [_labels(value, classes, table.where(row)) for row, value in enumerate(values)]
        return Examples(parse_texts(table, columns), labels)

    def to_row(
        self, inputs: tuple[str, ...], labels: tuple[str, ...], columns: Columns
    ) -> Mapping[str, Any]:
        return super().to_row(inputs, list(labels), columns)

    def example_labels(self, labels: tuple[str, ...]) -> Sequence[str]:
        return labels

    def label_names(self, train: Examples, table: Table, columns: Columns) -> tuple[str, ...]:
        names = table.classes.get(columns.label)
        names = names or sort_labels({name for labels in train.labels for name in labels})
        if not names:
            raise DataError(f"{table.name}: no row has a label", hint="check task.columns.label")
        return tuple(names)

    def stratum(self, labels: tuple[str, ...]) -> str:
        return labels[0] if labels else NO_LABEL

    def encode(
        self,
        tokenizer: Any,
        examples: Examples,
        ids: Mapping[str, int],
        max_length: int,
        stride: int | None = None,
    ) -> Arrays:
        labels = np.zeros((len(examples), len(ids)), dtype=np.float32)
        for row, names in enumerate(examples.labels):
            labels[row, [ids[name] for name in names]] = 1.0
        return encode_texts(tokenizer, examples.inputs, labels, max_length, stride)

    def scores(
        self, split: Split, values: np.ndarray, label_names: Sequence[str]
    ) -> dict[str, Measurement]:
        """Scores of the labels with a probability above one half, and of the ranking."""
        labels, logits = join_windows(split, values)
        return metrics.multi_label_scores(labels > 0, logits)

    def hits(self, split: Split, values: np.ndarray) -> np.ndarray | None:
        """The examples of which every label is predicted correctly."""
        labels, predictions = self.decode(split, values)
        return np.asarray((predictions == labels).all(axis=1))

    def decode(self, split: Split, values: np.ndarray) -> tuple[Any, Any]:
        labels, logits = join_windows(split, values)
        return labels.astype(np.int64), (logits > 0).astype(np.int64)

    def tune_threshold(self, split: Split, values: np.ndarray) -> float:
        """The probability, the same for all labels, with the best ``f1_micro``."""
        labels, logits = join_windows(split, values)
        actual = labels > 0

        def score(threshold: float) -> tuple[float, float]:
            predicted = self.apply_threshold(split, logits, threshold) > 0
            total = max(1, int(actual.sum() + predicted.sum()))
            return (actual & predicted).sum() / total, -abs(threshold - USUAL_THRESHOLD)

        return max(THRESHOLDS.tolist(), key=score)

    def apply_threshold(self, split: Split, values: np.ndarray, threshold: float) -> np.ndarray:
        return values - np.float32(math.log(threshold / (1 - threshold)))


def _labels(value: Any, classes: Sequence[str] | None, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [as_integer(name) for name in value.split(SEPARATOR) if name.strip()]
    if not isinstance(value, list):
        raise DataError(
            f"{where}: the labels are {value!r:.40}, not a list",
            hint='rows look like {"text": "...", "label": ["a", "b"]}; in CSV files names are '
            'separated by commas: "a,b"',
        )
    if classes is None:
        names = [parse_label(name, where) for name in value]
    else:
        names = [class_name(classes, name, where) for name in value]
    return tuple(dict.fromkeys(names))
