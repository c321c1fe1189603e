"""Text classification: one label for a text, or for a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autotune.domain import Columns, Measurement
from autotune.trial import metrics
from autotune.trial.labels import clean_labels
from autotune.trial.split import Split
from autotune.trial.tables import Table
from autotune.trial.tasks.base import (
    Arrays,
    Examples,
    class_name,
    get_column,
    is_evaluated,
    parse_label,
    sort_labels,
)
from autotune.trial.tasks.texts import TextTask, encode_texts, join_windows, parse_texts


class TextClassification(TextTask):
    """Inputs are ``(text,)`` or ``(text, text_pair)``; a label is one name."""

    problem_type = "single_label_classification"

    def clean(
        self, tables: Mapping[str, Table], columns: Columns
    ) -> tuple[dict[str, Table], list[str]]:
        return clean_labels(tables, columns)

    def parse(self, table: Table, columns: Columns) -> Examples:
        return Examples(parse_texts(table, columns), _labels(table, columns.label))

    def example_labels(self, labels: str) -> Sequence[str]:
        return (labels,)

    def label_names(self, train: Examples, table: Table, columns: Columns) -> tuple[str, ...]:
        return tuple(table.classes.get(columns.label) or sort_labels(set(train.labels)))

    def stratum(self, labels: str) -> str:
        return labels

    def encode(
        self,
        tokenizer: Any,
        examples: Examples,
        ids: Mapping[str, int],
        max_length: int,
        stride: int | None = None,
    ) -> Arrays:
        labels = np.array([ids[label] for label in examples.labels], dtype=np.int64)
        return encode_texts(tokenizer, examples.inputs, labels, max_length, stride)

    def scores(
        self, split: Split, values: np.ndarray, label_names: Sequence[str]
    ) -> dict[str, Measurement]:
        return metrics.classification_scores(*self.decode(split, values))

    def hits(self, split: Split, values: np.ndarray) -> np.ndarray | None:
        labels, predictions = self.decode(split, values)
        return np.asarray((predictions == labels)[is_evaluated(labels)])

    def decode(self, split: Split, values: np.ndarray) -> tuple[Any, Any]:
        """``values`` are logits where texts are divided into windows."""
        labels, joined = join_windows(split, values)
        return labels, joined if joined.ndim == 1 else joined.argmax(axis=1)


def _labels(table: Table, name: str) -> list[str]:
    classes = table.classes.get(name)
    values = enumerate(get_column(table, name, "label"))
    if classes is None:
        return [parse_label(value, table.where(row)) for row, value in values]
    return [class_name(classes, value, table.where(row)) for row, value in values]
