"""Built-in data sets of other task kinds, made from the paragraphs of ``builtin:docstrings``.

Texts are real, labels follow from how a row is made. Each function makes the rows of one split from
its paragraphs, so that no paragraph contributes to two splits. The same paragraphs give the same
rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

Row = dict[str, Any]

Paragraph = tuple[str, str]
"""Its text, and the library that it is from."""

RECIPE_VERSION = 1
"""Increment it when the same paragraphs give different rows."""

HIGHEST_SIMILARITY = 5.0
"""The similarity of equal texts, as in STS-B."""

MAX_LABELS = 3
"""Paragraphs of different libraries in a text of :func:`make_mixtures`."""

MAX_WORDS = 20
"""Words of each paragraph in such a text."""

UNANSWERABLE_SHARE = 0.2
"""The share of questions that their context does not answer."""

ASKED_WORD = re.compile(r"[a-z]{5,}")
"""Words that are asked for."""

SENTENCE_END = re.compile(r"(?<=[.;:])\s+")
MIN_SENTENCE_WORDS = 6


def make_pairs(paragraphs: Sequence[Paragraph], rng: Random) -> list[Row]:
    """Two paragraphs: whether they are about the same library."""
    by_library = _by_library(paragraphs)
    rows = []
    for text, library in paragraphs:
        is_same = rng.random() < 0.5
        others = sorted(set(by_library) - {library})
        other = library if is_same else rng.choice(others)
        pair = rng.choice([t for t in by_library[other] if t != text] or [text])
        rows.append({"text": text, "text_pair": pair, "label": "same" if is_same else "different"})
    return rows


def make_similarities(paragraphs: Sequence[Paragraph], rng: Random) -> list[Row]:
    """A paragraph, and a copy in which a random share of the words is that of another paragraph:
    the similarity is the share of words that are kept, from 0 to 5."""
    rows = []
    for text, _ in paragraphs:
        words, others = text.split(), rng.choice(paragraphs)[0].split()
        kept = rng.random()
        is_kept = [rng.random() < kept for _ in words]
        copy = [
            word if keeps else others[index % len(others)]
            for index, (word, keeps) in enumerate(zip(words, is_kept, strict=True))
        ]
        label = round(HIGHEST_SIMILARITY * sum(is_kept) / len(words), 2)
        rows.append({"text": text, "text_pair": " ".join(copy), "label": label})
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
    """A sentence with a word replaced by ``what``, and the paragraph that has the word, or, for
    every fifth question, another one, which does not answer it."""
    rows = []
    for text, _ in paragraphs:
        sentences = [s for s in SENTENCE_END.split(text) if len(s.split()) >= MIN_SENTENCE_WORDS]
        sentence = rng.choice(sentences) if sentences else text
        words = [m for m in ASKED_WORD.finditer(sentence) if text.count(m[0]) == 1]
        if not words:
            continue
        word = rng.choice(words)
        question = f"{sentence[: word.start()]}what{sentence[word.end() :]}"
        if rng.random() < UNANSWERABLE_SHARE:
            context = rng.choice([t for t, _ in paragraphs if word[0] not in t] or [""])
            answers: Row = {"text": [], "answer_start": []}
        else:
            context, answers = text, {"text": [word[0]], "answer_start": [text.index(word[0])]}
        if context:
            rows.append({"question": question, "context": context, "answers": answers})
    return rows


RECIPES: Mapping[str, Callable[[Sequence[Paragraph], Random], list[Row]]] = {
    "docstring-pairs": make_pairs,
    "docstring-similarity": make_similarities,
    "docstring-mixtures": make_mixtures,
    "docstring-questions": make_questions,
}
"""By the name after ``builtin:``."""


def _by_library(paragraphs: Sequence[Paragraph]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for text, library in paragraphs:
        texts.setdefault(library, []).append(text)
    return texts
