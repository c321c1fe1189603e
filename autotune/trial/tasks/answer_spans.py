"""The answers to questions, from the logits of starts and ends of spans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autotune.trial.split import Split

MAX_ANSWER_TOKENS = 30
"""Longer spans are no answers, as in the examples of transformers."""


@dataclass(frozen=True)
class AnswerSpan:
    """The first character of an answer in the context, and that after the last. ``margin`` is by
    how much the sum of logits for no answer is larger than that of the span; not finite without
    a span."""

    first: int
    end: int
    margin: float


def best_answers(
    split: Split, logits: np.ndarray, *, may_be_empty: bool
) -> Mapping[int, tuple[int, int]]:
    """For each example the first character of its answer in the context, and that after the last.

    The answer is :func:`best_spans`. If it ``may_be_empty``, it is ``(0, 0)`` where the margin is
    positive.
    """
    return {
        example: (span.first, span.end)
        if np.isfinite(span.margin) and not (may_be_empty and span.margin > 0)
        else (0, 0)
        for example, span in best_spans(split, logits).items()
    }


def best_spans(split: Split, logits: np.ndarray) -> Mapping[int, AnswerSpan]:
    """The best span of each example: that with the largest sum of logits in any of its windows.

    ``logits`` (``[tokens, 2]``) are those of the start and of the end of a span at each token.
    Those of the first token of a window stand for no answer; the smallest of all windows counts.
    """
    logits = logits.astype(np.float64)
    scores, lasts = _best_ends(split, logits)
    starts = split.offsets[:-1]
    rows = np.repeat(np.arange(len(split)), split.lengths)
    order = np.lexsort((np.arange(len(scores)), -scores, rows))
    firsts = order[starts]  # the best start of each window
    no_answer = logits[starts].sum(axis=1)
    characters = split.extras["token_characters"]
    examples = split.extras["row_example"]
    spans: dict[int, AnswerSpan] = {}
    for example in np.unique(examples):
        windows = np.flatnonzero(examples == example)
        first = firsts[windows[np.argmax(scores[firsts[windows]])]]
        margin = float(no_answer[windows].min() - scores[first])
        end = characters[lasts[first], 1]
        spans[int(example)] = AnswerSpan(int(characters[first, 0]), int(end), margin)
    return spans


def _best_ends(split: Split, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each token as the start of a span: the largest sum of logits, minus infinity outside of
    the context, and the last token of that span."""
    is_context = split.extras["token_characters"][:, 0] >= 0
    rows = np.repeat(np.arange(len(split)), split.lengths)
    scores = np.full(len(logits), -np.inf, dtype=np.float64)
    lasts = np.arange(len(logits))
    for length in range(min(MAX_ANSWER_TOKENS, len(logits))):
        count = len(logits) - length
        is_span = is_context[:count] & is_context[length:] & (rows[:count] == rows[length:])
        sums = logits[:count, 0] + logits[length:, 1]
        is_better = is_span & (sums > scores[:count])
        scores[:count][is_better] = sums[is_better]
        lasts[:count][is_better] = np.flatnonzero(is_better) + length
    return scores, lasts
