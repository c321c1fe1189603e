"""What task kinds on a text, or on a pair of texts, share: their rows and their tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from autotune.domain import Columns
from autotune.errors import DataError
from autotune.trial.tables import Table
from autotune.trial.tasks.base import Arrays, cut_text, flatten_rows, get_column

Texts = tuple[str, ...]
"""``(text,)`` or ``(text, text_pair)``."""


class TextTask:
    """A task on a text, or on a pair of texts, with one head for the whole."""

    auto_class = "AutoModelForSequenceClassification"
    tokenizer_options: Mapping[str, Any] = MappingProxyType({})

    def to_row(self, inputs: Texts, labels: Any, columns: Columns) -> Mapping[str, Any]:
        names = [columns.text, *([columns.text_pair] if columns.text_pair else [])]
        return {**dict(zip(names, inputs, strict=True)), columns.label: labels}


def parse_texts(table: Table, columns: Columns) -> list[Texts]:
    """The text, or the pair of texts, of each row. Raises :class:`DataError` for one without."""
    keys = {"text": columns.text}
    if columns.text_pair is not None:
        keys["text_pair"] = columns.text_pair
    texts = [parse_column(table, name, key) for key, name in keys.items()]
    return list(zip(*texts, strict=True))


def parse_column(table: Table, name: str, key: str) -> Sequence[str]:
    """The texts in the column that ``task.columns.<key>`` names."""
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


def encode_texts(
    tokenizer: Any, inputs: Sequence[Texts], labels: np.ndarray, max_length: int
) -> Arrays:
    """The tokens of texts or pairs, with ``labels``. Of a pair, the longer text is cut first."""
    texts = [list(map(cut_text, side)) for side in zip(*inputs, strict=True)]
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
    arrays = {"tokens": tokens, "offsets": offsets, "labels": labels}
    if paired:
        arrays["types"] = flatten_rows(encoded["token_type_ids"])[0]
    return arrays
