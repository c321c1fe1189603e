"""Tokenizes questions with windows of their contexts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autotune.trial.tasks.base import Arrays, Examples, cut_text, flatten_rows, require_fast
from autotune.trial.tasks.texts import cut_to_tokens

DEFAULT_STRIDE = 128
"""Tokens that two windows of a context share, as in the examples of transformers."""

MAX_STRIDE_SHARE = 3
"""Windows share at most one part of so many of their length: beside a long question, more would
leave few new tokens in each window."""

MAX_SPECIAL_TOKENS = 4
"""Special tokens of a pair: ``<s> question </s></s> context </s>``."""

CONTEXT = 1
"""The number of the context in a pair of question and context."""

NO_CHARACTERS = (-1, -1)
"""The characters of a token that is not of the context."""


def encode_windows(
    tokenizer: Any, examples: Examples, max_length: int, stride: int | None
) -> Arrays:
    """The windows of all examples.

    ``labels`` (``[windows, 2]``) are the first and last token of the first answer; the first token
    of the window, where it does not contain the whole answer. ``row_example`` is the example of
    each window, ``token_characters`` (``[tokens, 2]``) the characters of the context that a token
    stands for. Raises :class:`ModelError` for a tokenizer that does not know them.
    """
    require_fast(tokenizer, "question answering")
    max_question = max_length // 2
    questions, contexts = (list(map(cut_text, side)) for side in zip(*examples.inputs, strict=True))
    has_types = "token_type_ids" in tokenizer.model_input_names
    encoded = tokenizer(
        cut_to_tokens(tokenizer, [question.lstrip() for question in questions], max_question),
        contexts,
        truncation="only_second",
        max_length=max_length,
        stride=window_stride(max_length, stride),
        padding=False,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=has_types,
    )
    tokens, offsets = flatten_rows(encoded["input_ids"])
    row_example = np.array(encoded["overflow_to_sample_mapping"], dtype=np.int32)
    characters = [
        _context_characters(encoded.sequence_ids(row), spans)
        for row, spans in enumerate(encoded["offset_mapping"])
    ]
    labels = [
        _positions(spans, examples.labels[example])
        for spans, example in zip(characters, row_example, strict=True)
    ]
    arrays = {
        "tokens": tokens,
        "offsets": offsets,
        "labels": np.array(labels, dtype=np.int64),
        "row_example": row_example,
        "token_characters": np.concatenate(characters).astype(np.int32),
    }
    if has_types:
        arrays["types"] = flatten_rows(encoded["token_type_ids"])[0]
    return arrays


def window_stride(max_length: int, stride: int | None) -> int:
    """The tokens that two windows share: ``stride``, as far as it fits in their length."""
    longest = min(max_length // MAX_STRIDE_SHARE, max(0, max_length // 2 - MAX_SPECIAL_TOKENS - 1))
    return min(DEFAULT_STRIDE if stride is None else stride, longest)


def _context_characters(
    sequence_ids: Sequence[int | None], spans: Sequence[tuple[int, int]]
) -> np.ndarray:
    return np.array(
        [
            span if number == CONTEXT else NO_CHARACTERS
            for number, span in zip(sequence_ids, spans, strict=True)
        ]
    )


def _positions(characters: np.ndarray, answers: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """The first and last token of the first of ``answers``; ``(0, 0)`` if it is not in the window
    as a whole."""
    if not answers:
        return 0, 0
    text, start = answers[0]
    end = start + len(text)
    starts, ends = characters.T
    is_context = ends >= 0
    firsts = np.flatnonzero(is_context & (starts <= start))
    lasts = np.flatnonzero(is_context & (ends >= end))
    is_inside = len(firsts) > 0 and len(lasts) > 0
    return (int(firsts[-1]), int(lasts[0])) if is_inside else (0, 0)
