"""Text classification: one label for a text, or for a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from autotune.domain import Columns, Measurement
from autotune.errors import DataError
from autotune.trial import metrics
from autotune.trial.tables import Table
from autotune.trial.tasks.base import (
    Arrays,
    Examples,
    cut_text,
    flatten_rows,
    get_column,
    parse_label,
    sort_labels,
)


class TextClassification:
    """Inputs are ``(text,)`` or ``(text, text_pair)``; a label is one name."""

    auto_class = "AutoModelForSequenceClassification"
    problem_type = "single_label_classification"
    tokenizer_options: Mapping[str, Any] = MappingProxyType({})

    def parse(self, table: Table, columns: Columns) -> Examples:
        keys = {"text": columns.text}
        if columns.text_pair is not None:
            keys["text_pair"] = columns.text_pair
        texts = [_texts(table, name, key) for key, name in keys.items()]
        return Examples(list(zip(*texts, strict=True)), _labels(table, columns.label))

    def to_row(self, inputs: tuple[str, ...], labels: str, columns: Columns) -> Mapping[str, Any]:
        names = [columns.text, *([columns.text_pair] if columns.text_pair else [])]
        return {**dict(zip(names, inputs, strict=True)), columns.label: labels}

    def example_labels(self, labels: str) -> Sequence[str]:
        return (labels,)

    def label_names(self, train: Examples, table: Table, columns: Columns) -> tuple[str, ...]:
        return tuple(table.classes.get(columns.label) or sort_labels(set(train.labels)))

    def stratum(self, labels: str) -> str:
        return labels

    def encode(
        self, tokenizer: Any, examples: Examples, ids: Mapping[str, int], max_length: int
    ) -> Arrays:
        texts = [list(map(cut_text, side)) for side in zip(*examples.inputs, strict=True)]
        paired = len(texts) == 2 and "token_type_ids" in tokenizer.model_input_names
        encoded = tokenizer(
            *texts,
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=paired,
        )
        tokens, offsets = flatten_rows(encoded["input_ids"])
        labels = np.array([ids[label] for label in examples.labels], dtype=np.int64)
        arrays = {"tokens": tokens, "offsets": offsets, "labels": labels}
        if paired:
            arrays["types"] = flatten_rows(encoded["token_type_ids"])[0]
        return arrays

    def scores(
        self,
        labels: np.ndarray,
        predictions: np.ndarray,
        offsets: np.ndarray,
        label_names: Sequence[str],
    ) -> dict[str, Measurement]:
        return metrics.classification_scores(labels, predictions)


def _texts(table: Table, name: str, key: str) -> Sequence[str]:
    values = get_column(table, name, key)
    for row, value in enumerate(values):
        if not isinstance(value, str) or not value.strip():
            raise DataError(
                f"{table.where(row)}: {name} {_fault(value)}",
                hint="drop the rows without text, or name the right column: "
                f"task.columns.{key}: ({', '.join(table.columns)})",
            )
    return values


def _fault(value: Any) -> str:
    if value is None:
        return "is missing"
    return "is empty" if isinstance(value, str) else f"is not a text: {value!r:.40}"


def _labels(table: Table, name: str) -> list[str]:
    classes = table.classes.get(name)
    values = enumerate(get_column(table, name, "label"))
    if classes is None:
        return [parse_label(value, table.where(row)) for row, value in values]
    return [_class(classes, value, table.where(row)) for row, value in values]


def _class(classes: Sequence[str], value: Any, where: str) -> str:
    if isinstance(value, int) and 0 <= value < len(classes):
        return classes[value]
    raise DataError(
        f"{where}: the label is {value!r}; classes are 0 to {len(classes) - 1}",
        hint="drop the rows without a label",
    )
