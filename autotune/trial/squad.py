"""The scores of SQuAD: exact match and F1 of answers, which are texts."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """``text`` in lower case, without punctuation, articles and repeated white space."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def score_answer(prediction: str, answers: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 of words with the best of ``answers``, each from 0 to 1. A question
    without an answer is answered by an empty text, as in SQuAD 2."""
    targets = [text for text in map(normalize_answer, answers) if text] or [""]
    text = normalize_answer(prediction)
    return (
        max(float(text == target) for target in targets),
        max(_f1(text.split(), target.split()) for target in targets),
    )


def _f1(prediction: Sequence[str], target: Sequence[str]) -> float:
    if not prediction or not target:
        return float(prediction == target)
    common = sum((Counter(prediction) & Counter(target)).values())
    return 2 * common / (len(prediction) + len(target))
