"""The answers to questions, from the logits of starts and ends of spans."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autotune.trial.split import Split

MAX_ANSWER_TOKENS = 30
"""Longer spans are no answers, as in the examples of transformers."""


def best_answers(
    split: Split, logits: np.ndarray, *, may_be_empty: bool
) -> Mapping[int, tuple[int, int]]:
    """For each example the first character of its answer in the context, and that after the last.

    ``logits`` (``[tokens, 2]``) are those of the start and of the end of a span at each token. The
    answer is the span with the largest sum in any window of the example. If it ``may_be_empty``, it
    is ``(0, 0)`` where the sum at the first token of a window, which stands for no answer, is
    larger in every window.
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
    answers: dict[int, tuple[int, int]] = {}
    for example in np.unique(examples):
        windows = np.flatnonzero(examples == example)
        window = windows[np.argmax(scores[firsts[windows]])]
        first = firsts[window]
        is_empty = may_be_empty and no_answer[windows].min() > scores[first]
        if is_empty or not np.isfinite(scores[first]):
            answers[int(example)] = (0, 0)
        else:
            last = lasts[first]
            answers[int(example)] = (int(characters[first, 0]), int(characters[last, 1]))
    return answers


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
