"""From rows of text to predictions: tokens before the model, labels after it.

Needs only NumPy and ``tokenizers``, because exported folders contain a copy. It makes the tokens of
the trial, and the labels that its scores count.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from autotune.deployment.answers import best_answer, encode_windows
from autotune.deployment.artifact import TOKENIZER, Artifact
from autotune.deployment.inputs import EncodedText
from autotune.deployment.predictor import Logits, Predictor
from autotune.errors import DataError, UsageError

Row = Mapping[str, Any]
"""``text``, or ``text`` and ``text_pair``; for token classification ``tokens``, a list of words. A
question is the ``text``, its context the ``text_pair``."""

Prediction = dict[str, Any]
"""Plain data: what the model says about a row."""

QUESTION_ANSWERING = "question-answering"

MAX_CHARACTERS = 200_000
"""Characters of a text that are tokenized: 20 times what the longest encoders take."""


@dataclass(frozen=True)
class TextEncoder:
    """The tokens of rows, as an artifact takes them."""

    artifact: Artifact
    tokenizer: Tokenizer

    @property
    def example_row(self) -> Row:
        """A row that can be encoded."""
        if self.artifact.task == "token-classification":
            return {"tokens": ["example"]}
        return {"text": "example", "text_pair": "example"}

    def encode(self, rows: Sequence[Row]) -> list[Encoding]:
        """The tokens of each row, cut to the length of the model. Raises :class:`DataError` for a
        row without text."""
        return [self._encode(row, f"row {number}") for number, row in enumerate(rows, 1)]

    def _encode(self, row: Row, where: str) -> Encoding:
        if self.artifact.task == "token-classification":
            return self.tokenizer.encode(_words(row, where), is_pretokenized=True)
        text = _text(row, "text", where)
        if self.artifact.is_paired:
            return self.tokenizer.encode(text, _text(row, "text_pair", where))
        return self.tokenizer.encode(text)

    def windows(self, row: Row, where: str) -> list[Encoding]:
        """The tokens of a row: those of each window for a question whose context is long."""
        if self.artifact.task != QUESTION_ANSWERING:
            return [self._encode(row, where)]
        pair = _text(row, "text", where), _text(row, "text_pair", where)
        return encode_windows(self.tokenizer, self.artifact, *pair)

    def arguments(self, encoding: Encoding) -> EncodedText:
        """What the model takes of the tokens of a row."""
        ids = {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}
        return {name: ids[name] for name in ids if name in self.artifact.inputs}


@dataclass(frozen=True)
class Pipeline(ABC):
    """Predicts rows with a loaded artifact."""

    predictor: Predictor
    encoder: TextEncoder

    @abstractmethod
    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        """The prediction for each row. Raises :class:`DataError` for a row without text."""


@dataclass(frozen=True)
class LabelPipeline(Pipeline):
    """``decode`` makes a prediction of the logits of a row."""

    decode: Callable[[Artifact, Logits, Encoding], Prediction]

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        encodings = self.encoder.encode(rows)
        logits = self.predictor.predict_all([self.encoder.arguments(e) for e in encodings])
        return [
            self.decode(self.predictor.artifact, values, encoding)
            for values, encoding in zip(logits, encodings, strict=True)
        ]


@dataclass(frozen=True)
class AnswerPipeline(Pipeline):
    """Answers questions about contexts."""

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        artifact = self.encoder.artifact
        threshold = artifact.threshold or 0.0
        windows = [self.encoder.windows(row, f"row {n}") for n, row in enumerate(rows, 1)]
        contexts = [_text(row, "text_pair", f"row {n}") for n, row in enumerate(rows, 1)]
        flat = [self.encoder.arguments(window) for row in windows for window in row]
        logits = iter(self.predictor.predict_all(flat))
        spans = [
            best_answer(
                [next(logits) for _ in row],
                row,
                may_be_empty=artifact.may_be_empty,
                threshold=threshold,
            )
            for row in windows
        ]
        return [
            {"answer": context[first:end], "start": first}
            for context, (first, end) in zip(contexts, spans, strict=True)
        ]


def make_encoder(folder: Path, artifact: Artifact) -> TextEncoder:
    """The encoder of the artifact in ``folder``."""
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(artifact.max_length)
    return TextEncoder(artifact, tokenizer)


def make_pipeline(folder: Path, predictor: Predictor) -> Pipeline:
    """The pipeline of the artifact in ``folder``, which ``predictor`` has loaded. Raises
    :class:`UsageError` for a kind of task whose predictions are not labels or numbers."""
    artifact = predictor.artifact
    encoder = make_encoder(folder, artifact)
    if artifact.task == QUESTION_ANSWERING:
        return AnswerPipeline(predictor, encoder)
    decode = DECODERS.get(artifact.task)
    if decode is None:
        raise UsageError(f"predictions for {artifact.task} need the code of the task")
    return LabelPipeline(predictor, encoder, decode)


def _text(row: Row, key: str, where: str) -> str:
    value = row.get(key) if isinstance(row, Mapping) else None
    if isinstance(value, str) and value.strip():
        return value[:MAX_CHARACTERS]
    raise DataError(f"{where} has no {key}", hint=f'each row is like {{"{key}": "..."}}')


def _words(row: Row, where: str) -> list[str]:
    words = row.get("tokens") if isinstance(row, Mapping) else None
    if isinstance(words, list) and words and all(isinstance(w, str) and w for w in words):
        return words
    raise DataError(
        f"{where} has no tokens", hint='each row is like {"tokens": ["A", "list", "of", "words"]}'
    )


def _decode_class(artifact: Artifact, logits: Logits, encoding: Encoding) -> Prediction:
    """The most probable label and its probability."""
    best = int(logits.argmax())
    return {"label": artifact.labels[best], "score": float(_softmax(logits)[best])}


def _decode_labels(artifact: Artifact, logits: Logits, encoding: Encoding) -> Prediction:
    """The labels with a probability above the threshold, and the probability of each label."""
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    threshold = 0.5 if artifact.threshold is None else artifact.threshold
    applies = logits > np.float32(math.log(threshold / (1 - threshold)))
    return {
        "labels": [label for label, is_one in zip(artifact.labels, applies, strict=True) if is_one],
        "scores": dict(zip(artifact.labels, scores.tolist(), strict=True)),
    }


def _decode_number(artifact: Artifact, logits: Logits, encoding: Encoding) -> Prediction:
    return {"value": float(logits[0])}


def _decode_words(artifact: Artifact, logits: Logits, encoding: Encoding) -> Prediction:
    """The label of each word: that of its first token. Words beyond the length of the model have
    none."""
    labels: dict[int, str] = {}
    for word, values in zip(encoding.word_ids, logits, strict=True):
        if word is not None and word not in labels:
            labels[word] = artifact.labels[int(values.argmax())]
    return {"labels": [labels[word] for word in sorted(labels)]}


def _softmax(logits: Logits) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()


DECODERS: Mapping[str, Callable[[Artifact, Logits, Encoding], Prediction]] = {
    "text-classification": _decode_class,
    "multi-label": _decode_labels,
    "regression": _decode_number,
    "token-classification": _decode_words,
}
"""By kind of task, the function that makes a prediction of the logits of a row."""

TASKS = (*DECODERS, QUESTION_ANSWERING)
"""The kinds of tasks that have a pipeline."""
