"""Built-in data sets of other task kinds, made from the paragraphs of ``builtin:docstrings``.

Texts are real, labels follow from how a row is made. Each function makes the rows of one split from
its paragraphs, so that no paragraph contributes to two splits. The same paragraphs give the same
rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

Row = dict[str, Any]

Paragraph = tuple[str, str]
"""Its text, and the library that it is from."""

RECIPE_VERSION = 2
"""Increment it when the same paragraphs give different rows."""

DEEP_LEARNING = ("torch", "transformers")
"""Libraries that are about deep learning; the others are not."""

SHARED_WORDS = 40
"""Words of a text of :func:`make_shares`."""

MAX_LABELS = 3
"""Paragraphs of different libraries in a text of :func:`make_mixtures`."""

MAX_WORDS = 20
"""Words of each paragraph in a text of :func:`make_mixtures` and :func:`make_questions`."""

TOPICS = {
    "optuna": "optimization", "sqlalchemy": "databases", "streamlit": "web pages",
    "torch": "tensors", "transformers": "language models",
}  # fmt: skip
"""What a paragraph of each library is about, in a question."""

PARTS = 2
"""Paragraphs in a context of :func:`make_questions`."""

UNANSWERABLE_SHARE = 0.2
"""The share of questions that their context does not answer."""


def make_pairs(paragraphs: Sequence[Paragraph], rng: Random) -> list[Row]:
    """Two paragraphs: which of them is about deep learning."""
    rows = []
    for text, library in paragraphs:
        is_first = rng.random() < 0.5
        own, other = text, rng.choice(_of_the_other_kind(paragraphs, library))
        if (library in DEEP_LEARNING) is not is_first:
            own, other = other, own
        label = "first" if is_first else "second"
        rows.append({"text": own, "text_pair": other, "label": label})
    return rows


def make_shares(paragraphs: Sequence[Paragraph], rng: Random) -> list[Row]:
    """The beginnings of two paragraphs: the share of their words that is of the one about deep
    learning, from 0 to 1."""
    rows = []
    for text, library in paragraphs:
        other = rng.choice(_of_the_other_kind(paragraphs, library))
        is_own = library in DEEP_LEARNING
        count = rng.randrange(SHARED_WORDS + 1)
        counts = (count, SHARED_WORDS - count) if is_own else (SHARED_WORDS - count, count)
        parts = [part.split()[:size] for part, size in zip((text, other), counts, strict=True)]
        lengths = [len(part) for part in parts]
        share = lengths[0 if is_own else 1] / max(sum(lengths), 1)
        rng.shuffle(parts)
        words = [word for part in parts for word in part]
        rows.append({"text": " ".join(words), "label": round(share, 2)})
    return rows


def make_mixtures(paragraphs: Sequence[Paragraph], rng: Random) -> list[Row]:
    """The beginnings of paragraphs of one to three libraries: which libraries they are."""
    by_library = _by_library(paragraphs)
    rows = []
    for text, library in paragraphs:
        others = sorted(set(by_library) - {library})
        labels = [library, *rng.sample(others, rng.randrange(min(MAX_LABELS, 1 + len(others))))]
        texts = [text, *(rng.choice(by_library[other]) for other in labels[1:])]
        rng.shuffle(texts)
        beginnings = (" ".join(part.split()[:MAX_WORDS]) for part in texts)
        rows.append({"text": " ".join(beginnings), "label": sorted(labels)})
    return rows


def make_questions(paragraphs: Sequence[Paragraph], rng: Random) -> list[Row]:
    """The beginnings of paragraphs of different libraries: which of them is about a topic. Every
    fifth question is about another topic, and has no answer."""
    by_library = _by_library(paragraphs)
    rows = []
    for text, library in paragraphs:
        others = rng.sample(sorted(set(by_library) - {library}), PARTS)
        texts = [text, *(rng.choice(by_library[other]) for other in others[1:])]
        parts = [" ".join(part.split()[:MAX_WORDS]) for part in texts]
        answer = parts[0]
        rng.shuffle(parts)
        context = " ".join(parts)
        has_answer = rng.random() >= UNANSWERABLE_SHARE and context.count(answer) == 1
        starts = [context.index(answer)] if has_answer else []
        rows.append({
            "question": f"What is about {TOPICS[library if has_answer else others[0]]}?",
            "context": context,
            "answers": {"text": [answer] * has_answer, "answer_start": starts},
        })  # fmt: skip
    return rows


RECIPES: Mapping[str, Callable[[Sequence[Paragraph], Random], list[Row]]] = {
    "docstring-pairs": make_pairs,
    "docstring-shares": make_shares,
    "docstring-mixtures": make_mixtures,
    "docstring-questions": make_questions,
}
"""By the name after ``builtin:``."""


def _of_the_other_kind(paragraphs: Sequence[Paragraph], library: str) -> list[str]:
    """The paragraphs about deep learning for a library that is not, and the others for one that
    is."""
    is_own = library in DEEP_LEARNING
    return [text for text, other in paragraphs if (other in DEEP_LEARNING) is not is_own]


def _by_library(paragraphs: Sequence[Paragraph]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for text, library in paragraphs:
        texts.setdefault(library, []).append(text)
    return texts
