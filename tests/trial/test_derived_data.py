"""The built-in data sets of other task kinds that are made from docstrings."""

from __future__ import annotations

from random import Random

import pytest

from autotune.trial.data.derived import DEEP_LEARNING, RECIPES, TOPICS, Paragraph, Row

PARAGRAPHS: list[Paragraph] = [
    (" ".join(f"{library}{number}word{i}" for i in range(30)), library)
    for number in range(12)
    for library in TOPICS
]


def _rows(name: str) -> list[Row]:
    return RECIPES[name](PARAGRAPHS, Random(0))


def _is_deep_learning(word: str) -> bool:
    return word.startswith(DEEP_LEARNING)


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_paragraphs_give_the_same_rows(name: str) -> None:
    assert _rows(name) == _rows(name)
    assert len(_rows(name)) == len(PARAGRAPHS)


def test_the_label_of_a_pair_is_the_text_about_deep_learning() -> None:
    rows = _rows("docstring-pairs")
    for row in rows:
        assert _is_deep_learning(row["text"]) is (row["label"] == "first")
        assert _is_deep_learning(row["text_pair"]) is (row["label"] == "second")
    assert {row["label"] for row in rows} == {"first", "second"}


def test_the_label_of_a_share_is_that_of_the_words_about_deep_learning() -> None:
    rows = _rows("docstring-shares")
    for row in rows:
        words = row["text"].split()
        share = sum(map(_is_deep_learning, words)) / len(words)
        assert row["label"] == pytest.approx(share, abs=0.006)
    assert min(row["label"] for row in rows) < 0.2 < 0.8 < max(row["label"] for row in rows)


def test_an_answer_is_the_part_about_the_topic_of_the_question() -> None:
    libraries = {topic: library for library, topic in TOPICS.items()}
    rows = _rows("docstring-questions")
    for row in rows:
        library = libraries[row["question"].removeprefix("What is about ").removesuffix("?")]
        texts, starts = row["answers"]["text"], row["answers"]["answer_start"]
        assert bool(texts) is (library in row["context"])
        for text, start in zip(texts, starts, strict=True):
            assert row["context"][start : start + len(text)] == text
            assert all(word.startswith(library) for word in text.split())
    assert 0 < sum(not row["answers"]["text"] for row in rows) < len(rows) / 2
