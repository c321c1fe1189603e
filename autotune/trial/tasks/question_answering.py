"""Extractive question answering, as in SQuAD 1 and 2: the answer is a span of a context.

A context that is longer than the model takes is divided into windows that overlap. Each window is a
row of the split; the answer to a question is the best span of all windows of its context.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from autotune.domain import Columns, Measurement
from autotune.errors import DataError
from autotune.trial import metrics
from autotune.trial.split import Split
from autotune.trial.squad import score_answer
from autotune.trial.tables import Table
from autotune.trial.tasks.answer_spans import best_answers, best_spans
from autotune.trial.tasks.base import Arrays, Examples, get_column
from autotune.trial.tasks.context_windows import encode_windows
from autotune.trial.tasks.texts import parse_column

OUTPUT_NAMES = ("LABEL_0", "LABEL_1")
"""The names that transformers gives to the logits of the start and of the end of a span."""

Answer = tuple[str, int]
"""Its text, and the position of its first character in the context."""

ROUNDING = 1e-9
"""Sums of scores that differ less are equal."""

HINT = 'rows look like {"question": "...", "context": "...", "answers": {"text": ["Paris"], \
"answer_start": [17]}}; both lists are empty if there is no answer'


class QuestionAnswering:
    """Inputs are ``(question, context)``; labels are a tuple of answers, which is empty for a
    question without one. Models are trained with the first answer."""

    auto_class = "AutoModelForQuestionAnswering"
    problem_type: str | None = None
    tokenizer_options: Mapping[str, Any] = MappingProxyType({})

    def clean(
        self, tables: Mapping[str, Table], columns: Columns
    ) -> tuple[dict[str, Table], list[str]]:
        """Files in the format of SQuAD, with paragraphs, are made into rows. A split without any
        answer has none to compare with, where every question of train has one."""
        rows = {split: _flattened(table, columns) for split, table in tables.items()}
        answered = {split: _are_answered(table, columns) for split, table in rows.items()}
        if not all(answered.get("train", [False])):
            return rows, []
        withheld = [split for split, values in answered.items() if values and not any(values)]
        notes = [f"{split}: no question has an answer, so it is not used" for split in withheld]
        return {split: table for split, table in rows.items() if split not in withheld}, notes

    def parse(self, table: Table, columns: Columns) -> Examples:
        if columns.text_pair is None:
            raise DataError(
                "task.columns.text_pair names no column of contexts",
                hint="task.columns: {text: question, text_pair: context, label: answers}",
            )
        questions = parse_column(table, columns.text, "text")
        contexts = parse_column(table, columns.text_pair, "text_pair")
        values = get_column(table, columns.label, "label")
        labels = [
            _answers(value, contexts[row], table.where(row)) for row, value in enumerate(values)
        ]
        return Examples(list(zip(questions, contexts, strict=True)), labels)

    def to_row(
        self, inputs: tuple[str, str], labels: tuple[Answer, ...], columns: Columns
    ) -> Mapping[str, Any]:
        answers = {
            "text": [text for text, _ in labels],
            "answer_start": [start for _, start in labels],
        }
        return {columns.text: inputs[0], str(columns.text_pair): inputs[1], columns.label: answers}

    def example_labels(self, labels: tuple[Answer, ...]) -> Sequence[str]:
        return ()

    def label_names(self, train: Examples, table: Table, columns: Columns) -> tuple[str, ...]:
        if not any(train.labels):
            raise DataError(
                f"{table.name}: no question has an answer", hint="check task.columns.label"
            )
        return OUTPUT_NAMES

    def stratum(self, labels: tuple[Answer, ...]) -> str:
        return "answer" if labels else "none"

    def encode(
        self,
        tokenizer: Any,
        examples: Examples,
        ids: Mapping[str, int],
        max_length: int,
        stride: int | None = None,
    ) -> Arrays:
        arrays = encode_windows(tokenizer, examples, max_length, stride)
        references = [
            [context, [text for text, _ in answers]]
            for (_, context), answers in zip(examples.inputs, examples.labels, strict=True)
        ]
        text = json.dumps(references, ensure_ascii=False).encode()
        return {**arrays, "references": np.frombuffer(text, dtype=np.uint8)}

    def scores(
        self, split: Split, values: np.ndarray, label_names: Sequence[str]
    ) -> dict[str, Measurement]:
        answers, _ = decoded = self.decode(split, values)
        exact, f1 = _answer_scores(*decoded)
        return metrics.answer_scores(exact, f1, np.array([bool(texts) for texts in answers]))

    def hits(self, split: Split, values: np.ndarray) -> np.ndarray | None:
        """The questions that are answered exactly."""
        exact, _ = _answer_scores(*self.decode(split, values))
        return np.asarray(exact == 1.0)

    def decode(self, split: Split, values: np.ndarray) -> tuple[Any, Any]:
        """For each question the texts of its answers, and the predicted text."""
        references = json.loads(split.extras["references"].tobytes())
        questions = np.unique(split.extras["row_example"])
        answers = {int(question): references[question][1] for question in questions}
        may_be_empty = not all(answers.values())
        spans = best_answers(split, values, may_be_empty=may_be_empty)
        predictions = [references[question][0][slice(*spans[question])] for question in answers]
        return list(answers.values()), predictions

    def tune_threshold(self, split: Split, values: np.ndarray) -> float:
        """The margin above which no answer is given, with the best ``f1``: the best threshold of
        SQuAD 2. 0 if every question has an answer."""
        references = json.loads(split.extras["references"].tobytes())
        gains, margins = [], []
        for question, span in best_spans(split, values).items():
            context, answers = references[question]
            if np.isfinite(span.margin):
                margins.append(span.margin)
                text = context[span.first : span.end]
                gains.append(score_answer(text, answers)[1] - score_answer("", answers)[1])
        has_answers = all(references[int(q)][1] for q in np.unique(split.extras["row_example"]))
        return 0.0 if has_answers else best_threshold(np.array(margins), np.array(gains))

    def apply_threshold(self, split: Split, values: np.ndarray, threshold: float) -> np.ndarray:
        moved = values.astype(np.float64)
        moved[split.offsets[:-1], 0] -= threshold  # the first token stands for no answer
        return moved


def best_threshold(margins: np.ndarray, gains: np.ndarray) -> float:
    """The threshold with the largest sum of the ``gains`` of the questions whose margin is not
    above it; 0 if that is as good."""
    order = np.argsort(margins)
    sums = np.concatenate([[0.0], np.cumsum(gains[order])])  # of the questions below each bound
    ends = np.concatenate([margins[order][:1] - 1, margins[order], margins[order][-1:] + 1])
    bounds = (ends[:-1] + ends[1:]) / 2
    bounds[ends[:-1] == ends[1:]] = np.nan  # equal margins are not divided
    usual = sums[np.searchsorted(margins[order], 0.0, side="right")]
    totals = np.where(np.isnan(bounds), -np.inf, sums)
    if len(margins) == 0 or totals.max() <= usual + ROUNDING:
        return 0.0
    return float(bounds[totals.argmax()])


def _answer_scores(
    answers: Sequence[Sequence[str]], predictions: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    pairs = zip(answers, predictions, strict=True)
    exact, f1 = zip(*(score_answer(text, expected) for expected, text in pairs), strict=True)
    return np.array(exact), np.array(f1)


def _are_answered(table: Table, columns: Columns) -> list[bool]:
    """Which questions have an answer; what is not valid has one (:func:`_answers` says why)."""
    values = table.columns.get(columns.label, [])
    return [not isinstance(value, dict) or value.get("text") != [] for value in values]


def _answers(value: Any, context: str, where: str) -> tuple[Answer, ...]:
    try:
        texts, starts = value["text"], value["answer_start"]
        answers = tuple(zip(texts, starts, strict=True))
        is_valid = isinstance(texts, list) and all(
            isinstance(text, str) and type(start) is int for text, start in answers
        )
    except (TypeError, KeyError, ValueError):
        is_valid = False
    if not is_valid:
        raise DataError(f"{where}: the answers are {value!r:.60}", hint=HINT)
    for text, start in answers:
        if start < 0 or context[start : start + len(text)] != text:
            raise DataError(
                f"{where}: the context has {context[max(0, start) : start + len(text)]!r:.40} at "
                f"character {start}, not the answer {text!r:.40}",
                hint="answer_start is the position of the first character of the answer",
            )
    return answers


def _flattened(table: Table, columns: Columns) -> Table:
    """One row for each question of a file of SQuAD, whose only object has paragraphs."""
    articles = table.columns.get("data")
    if columns.label in table.columns or articles is None or len(table) != 1:
        return table
    try:
        questions = [
            (item["question"], paragraph["context"], item["answers"])
            for article in articles[0]
            for paragraph in article["paragraphs"]
            for item in paragraph["qas"]
        ]
        answers = [
            {
                "text": [answer["text"] for answer in items],
                "answer_start": [answer["answer_start"] for answer in items],
            }
            for _, _, items in questions
        ]
    except (TypeError, KeyError) as error:
        raise DataError(
            f"{table.name}: not the format of SQuAD: {error}",
            hint=f"one object with data, paragraphs, qas, and answers; or {HINT}",
        ) from error
    names = (columns.text, str(columns.text_pair))
    texts = {name: [row[index] for row in questions] for index, name in enumerate(names)}
    return replace(table, columns={**texts, columns.label: answers}, lines=None)
