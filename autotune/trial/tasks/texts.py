"""What task kinds on a text, or on a pair of texts, share: their rows and their tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from autotune.domain import Columns
from autotune.errors import DataError
from autotune.trial.split import Split
from autotune.trial.tables import Table
from autotune.trial.tasks.base import (
    Arrays,
    cut_text,
    flatten_rows,
    get_column,
    require_fast,
)

MAX_STRIDE_SHARE = 4
"""Windows have at most one part of so many in common with the one before."""

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
    tokenizer: Any,
    inputs: Sequence[Texts],
    labels: np.ndarray,
    max_length: int,
    stride: int | None = None,
) -> Arrays:
    """The tokens of texts or pairs, with ``labels``. Of a pair, the longer text is cut first.

    With a ``stride``, nothing is cut: texts that are too long, or the second text of a pair, are
    divided into windows with that many common tokens. ``row_example`` is the text of each window.
    The first text of a pair is cut where it leaves no space for the second.
    """
    if stride is not None:
        require_fast(tokenizer, "task.stride")
    texts = [list(map(cut_text, side)) for side in zip(*inputs, strict=True)]
    if stride is not None and len(texts) == 2:
        special = tokenizer.num_special_tokens_to_add(pair=True)
        space = max_length - special - text_stride(max_length, stride) - 1
        texts[0] = cut_to_tokens(tokenizer, texts[0], space)
    paired = len(texts) == 2 and "token_type_ids" in tokenizer.model_input_names
    windows: Mapping[str, Any] = {}
    if stride is not None:
        windows = _window_options(len(texts) == 2, max_length, stride)
    encoded = tokenizer(
        *texts,
        **{"truncation": True, **windows},
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=paired,
    )
    tokens, offsets = flatten_rows(encoded["input_ids"])
    arrays = {"tokens": tokens, "offsets": offsets, "labels": labels}
    if stride is not None:
        examples = np.array(encoded["overflow_to_sample_mapping"], dtype=np.int32)
        arrays |= {"labels": labels[examples], "row_example": examples}
    if paired:
        arrays["types"] = flatten_rows(encoded["token_type_ids"])[0]
    return arrays


def _window_options(is_pair: bool, max_length: int, stride: int) -> Mapping[str, Any]:
    return {
        "truncation": "only_second" if is_pair else True,
        "stride": text_stride(max_length, stride),
        "return_overflowing_tokens": True,
    }


def cut_to_tokens(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[str]:
    """The texts, of at most ``max_tokens`` each."""
    encoded = tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=True,
        return_attention_mask=False,
    )  # fmt: skip
    return [
        text if len(spans) <= max_tokens else text[: spans[max_tokens - 1][1]]
        for text, spans in zip(texts, encoded["offset_mapping"], strict=True)
    ]


def text_stride(max_length: int, stride: int) -> int:
    """The tokens that two windows share: ``stride``, as far as it fits in their length."""
    return min(stride, max_length // MAX_STRIDE_SHARE)


def join_windows(split: Split, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels of the texts of ``split`` and the values predicted for them: the mean logits of
    the windows of each text, where texts are divided into windows."""
    examples = split.extras.get("row_example")
    if examples is None:
        return split.labels, values
    _, first, window_text, counts = np.unique(
        examples, return_index=True, return_inverse=True, return_counts=True
    )
    sums = np.zeros((len(first), values.shape[1]))
    np.add.at(sums, window_text, values)
    return split.labels[first], sums / counts[:, None]
