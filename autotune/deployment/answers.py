"""Answers to questions: spans of a context, which is divided into windows that overlap.

Needs only NumPy and ``tokenizers``, because exported folders contain a copy. The answers are those
of the trial (:mod:`autotune.trial.tasks.answer_spans`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tokenizers import Encoding

from autotune.deployment.predictor import Logits

MAX_ANSWER_TOKENS = 30
"""Longer spans are no answers, as in the examples of transformers."""

CONTEXT = 1
"""The number of the context in a pair of question and context."""


def best_answer(
    logits: Sequence[Logits],
    windows: Sequence[Encoding],
    *,
    may_be_empty: bool,
    threshold: float = 0.0,
) -> tuple[int, int]:
    """The first character of the answer in the context, and that after the last.

    ``logits`` (``[tokens, 2]``) of each window are those of the start and of the end of a span. The
    answer is the span with the largest sum. If it ``may_be_empty``, it is ``(0, 0)`` where the sum
    at the first token of a window is larger by more than ``threshold`` in every window.
    """
    sums = [values.astype(np.float64) for values in logits]
    spans = [_best_span(values, window) for values, window in zip(sums, windows, strict=True)]
    best = int(np.argmax([score for score, _, _ in spans]))
    score, first, last = spans[best]
    is_empty = may_be_empty and min(values[0].sum() for values in sums) - threshold > score
    if is_empty or not np.isfinite(score):
        return 0, 0
    offsets = windows[best].offsets
    return int(offsets[first][0]), int(offsets[last][1])


def _best_span(logits: np.ndarray, window: Encoding) -> tuple[float, int, int]:
    """The largest sum of logits, minus infinity without a span, and the first and last token."""
    is_context = np.array([number == CONTEXT for number in window.sequence_ids])
    scores, lasts = np.full(len(logits), -np.inf), np.arange(len(logits))
    for length in range(min(MAX_ANSWER_TOKENS, len(logits))):
        count = len(logits) - length
        sums = logits[:count, 0] + logits[length:, 1]
        is_better = is_context[:count] & is_context[length:] & (sums > scores[:count])
        scores[:count][is_better] = sums[is_better]
        lasts[:count][is_better] = np.flatnonzero(is_better) + length
    first = int(np.argmax(scores))
    return float(scores[first]), first, int(lasts[first])
