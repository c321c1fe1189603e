"""Regression: a number for a text, or for a pair of texts, such as a similarity or a rating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from autotune.domain import Columns, Measurement
from autotune.errors import DataError
from autotune.trial import metrics
from autotune.trial.labels import UNLABELLED
from autotune.trial.split import Split
from autotune.trial.tables import Table
from autotune.trial.tasks.base import Arrays, Examples, get_column
from autotune.trial.tasks.texts import TextTask, encode_texts, join_windows, parse_texts

OUTPUT_NAME = "LABEL_0"
"""The name that transformers gives to the only output of a model for regression."""


class Regression(TextTask):
    """Inputs are ``(text,)`` or ``(text, text_pair)``; a label is a number."""

    problem_type = "regression"

    def clean(
        self, tables: Mapping[str, Table], columns: Columns
    ) -> tuple[dict[str, Table], list[str]]:
        """A split whose labels are all -1, as in GLUE, has none. In others, -1 is a number."""
        rest = {
            split: table
            for split, table in tables.items()
            if split == "train" or not _is_unlabelled(table, columns.label)
        }
        notes = [
            f"{split}: no row has a label (all are -1), so the split is not used"
            for split in tables.keys() - rest.keys()
        ]
        return rest, notes

    def parse(self, table: Table, columns: Columns) -> Examples:
        values = get_column(table, columns.label, "label")
        labels = [_number(value, table.where(row)) for row, value in enumerate(values)]
        return Examples(parse_texts(table, columns), labels)

    def example_labels(self, labels: float) -> Sequence[str]:
        return ()

    def label_names(self, train: Examples, table: Table, columns: Columns) -> tuple[str, ...]:
        if len(set(train.labels)) == 1:
            raise DataError(
                f"{table.name}: every label is {train.labels[0]:g}; there is nothing to learn",
                hint="check task.columns.label",
            )
        return (OUTPUT_NAME,)

    def stratum(self, labels: float) -> str:
        return "all"

    def encode(
        self,
        tokenizer: Any,
        examples: Examples,
        ids: Mapping[str, int],
        max_length: int,
        stride: int | None = None,
    ) -> Arrays:
        labels = np.array(examples.labels, dtype=np.float32)
        return encode_texts(tokenizer, examples.inputs, labels, max_length, stride)

    def scores(
        self, split: Split, values: np.ndarray, label_names: Sequence[str]
    ) -> dict[str, Measurement]:
        return metrics.regression_scores(*self.decode(split, values))

    def hits(self, split: Split, values: np.ndarray) -> np.ndarray | None:
        return None

    def decode(self, split: Split, values: np.ndarray) -> tuple[Any, Any]:
        labels, numbers = join_windows(split, values)
        return labels, numbers[:, 0]


def _is_unlabelled(table: Table, name: str) -> bool:
    values = table.columns.get(name, ())
    return len(values) > 0 and all(str(value) in (UNLABELLED, "-1.0") for value in values)


def _number(value: Any, where: str) -> float:
    """The number of a label that is a number, or text that is one."""
    try:
        number = float(value) if isinstance(value, str | int | float) else float("nan")
    except ValueError:
        number = float("nan")
    if isinstance(value, bool) or not isfinite(number):
        problem = "is missing" if value is None or value == "" else f"is {value!r:.40}"
        raise DataError(
            f"{where}: the label {problem}",
            hint="a label of task.kind: regression is a number; drop such rows, or use "
            "task.kind: text-classification",
        )
    return number
