"""From rows of text to predictions: tokens before the model, labels after it.

Needs only NumPy and ``tokenizers``, because exported folders contain a copy. It makes the tokens of
the trial, and the labels that its scores count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from autotune.deployment.answers import best_answer
from autotune.deployment.artifact import QUESTION_ANSWERING, TOKENIZER, Artifact
from autotune.deployment.inputs import EncodedText
from autotune.deployment.predictor import Logits, Predictor
from autotune.deployment.windows import question_windows, text_windows
from autotune.domain.text import replace_surrogates
from autotune.errors import DataError, UsageError

Row = Mapping[str, Any]
"""``text``, or ``text`` and ``text_pair``; for token classification ``tokens``, a list of words. A
question is the ``text``, its context the ``text_pair``."""

Prediction = dict[str, Any]
"""Plain data: what the model says about a row."""

CUT = "cut_to_tokens"
"""The key of predictions for rows that were cut to the length of the model."""

Windows = Sequence[Encoding]
"""The tokens of a row; those of each window if it is divided."""

Decode = Callable[[Artifact, Row, Windows, Sequence[Logits]], Prediction]


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

    def encode(self, rows: Sequence[Row]) -> list[Windows]:
        """The tokens of each row. Raises :class:`DataError` for a row without text."""
        return [self._encode(row, f"row {number}") for number, row in enumerate(rows, 1)]

    def _encode(self, row: Row, where: str) -> Windows:
        artifact, tokenizer = self.artifact, self.tokenizer
        if artifact.task == "token-classification":
            return [tokenizer.encode(_words(row, where), is_pretokenized=True)]
        text = _text(row, "text", where)
        if artifact.task == QUESTION_ANSWERING:
            return question_windows(tokenizer, artifact, text, _text(row, "text_pair", where))
        pair = _text(row, "text_pair", where) if artifact.is_paired else None
        if artifact.has_windows:
            return text_windows(tokenizer, artifact, text, pair)
        return [tokenizer.encode(text, pair)]

    def is_cut(self, windows: Windows) -> bool:
        """Whether the model does not see a part of the row, because it is too long."""
        return not self.artifact.divides_texts and bool(windows[0].overflowing)

    def arguments(self, encoding: Encoding) -> EncodedText:
        """What the model takes of the tokens of a window."""
        ids = {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}
        return {name: ids[name] for name in ids if name in self.artifact.inputs}


@dataclass(frozen=True)
class Pipeline:
    """Predicts rows with a loaded artifact. ``decode`` makes a prediction of the logits of each
    window of a row."""

    predictor: Predictor
    encoder: TextEncoder
    decode: Decode

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        """The prediction for each row, which says if the row was cut. Raises :class:`DataError` for
        a row without text."""
        rows_windows = self.encoder.encode(rows)
        texts = [self.encoder.arguments(window) for windows in rows_windows for window in windows]
        logits = iter(self.predictor.predict_all(texts))
        return [
            self._predict(row, windows, [next(logits) for _ in windows])
            for row, windows in zip(rows, rows_windows, strict=True)
        ]

    def _predict(self, row: Row, windows: Windows, logits: Sequence[Logits]) -> Prediction:
        prediction = self.decode(self.encoder.artifact, row, windows, logits)
        if self.encoder.is_cut(windows):
            prediction[CUT] = self.encoder.artifact.max_length
        return prediction


def describe_cut(predictions: Sequence[Mapping[str, Any]]) -> str | None:
    """How many rows were cut, in words; ``None`` if none was."""
    lengths = [prediction[CUT] for prediction in predictions if CUT in prediction]
    if not lengths:
        return None
    verb = "was" if len(lengths) == 1 else "were"
    return f"{len(lengths)} of {len(predictions)} texts {verb} cut to {lengths[0]} tokens"


def make_encoder(folder: Path, artifact: Artifact) -> TextEncoder:
    """The encoder of the artifact in ``folder``."""
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(artifact.max_length, direction=artifact.truncation_side)
    return TextEncoder(artifact, tokenizer)


def make_pipeline(folder: Path, predictor: Predictor) -> Pipeline:
    """The pipeline of the artifact in ``folder``, which ``predictor`` has loaded. Raises
    :class:`UsageError` for a kind of task whose predictions are not labels or numbers."""
    artifact = predictor.artifact
    decode = DECODERS.get(artifact.task)
    if decode is None:
        raise UsageError(f"predictions for {artifact.task} need the code of the task")
    return Pipeline(predictor, make_encoder(folder, artifact), decode)


def _text(row: Row, key: str, where: str) -> str:
    value = row.get(key) if isinstance(row, Mapping) else None
    if isinstance(value, str) and value.strip():
        return replace_surrogates(value[:MAX_CHARACTERS])
    raise DataError(f"{where} has no {key}", hint=f'each row is like {{"{key}": "..."}}')


def _words(row: Row, where: str) -> list[str]:
    words = row.get("tokens") if isinstance(row, Mapping) else None
    if (
        isinstance(words, list)
        and all(isinstance(word, str) for word in words)
        and any(word.strip() for word in words)
    ):
        return list(map(replace_surrogates, words))
    raise DataError(
        f"{where} has no tokens", hint='each row is like {"tokens": ["A", "list", "of", "words"]}'
    )


def _decode_class(
    artifact: Artifact, row: Row, windows: Windows, logits: Sequence[Logits]
) -> Prediction:
    """The most probable label and its probability."""
    probabilities = _softmax(_mean(logits))
    best = int(probabilities.argmax())
    return {"label": artifact.labels[best], "score": float(probabilities[best])}


def _decode_labels(
    artifact: Artifact, row: Row, windows: Windows, logits: Sequence[Logits]
) -> Prediction:
    """The labels with a probability above the threshold, and the probability of each label."""
    values = _mean(logits)
    scores = 1 / (1 + np.exp(-values))
    threshold = 0.5 if artifact.threshold is None else artifact.threshold
    applies = values > np.float32(math.log(threshold / (1 - threshold)))
    return {
        "labels": [label for label, is_one in zip(artifact.labels, applies, strict=True) if is_one],
        "scores": dict(zip(artifact.labels, scores.tolist(), strict=True)),
    }


def _decode_number(
    artifact: Artifact, row: Row, windows: Windows, logits: Sequence[Logits]
) -> Prediction:
    return {"value": float(_mean(logits)[0])}


def _decode_words(
    artifact: Artifact, row: Row, windows: Windows, logits: Sequence[Logits]
) -> Prediction:
    """The label of each word: that of its first token, ``None`` for a word of which the tokenizer
    makes none. Words beyond the length of the model are left out."""
    labels: dict[int, str] = {}
    for word, values in zip(windows[0].word_ids, logits[0], strict=True):
        if word is not None and word not in labels:
            labels[word] = artifact.labels[int(values.argmax())]
    is_cut = bool(windows[0].overflowing)
    count = max(labels, default=-1) + 1 if is_cut else len(row["tokens"])
    return {"labels": [labels.get(word) for word in range(count)]}


def _decode_answer(
    artifact: Artifact, row: Row, windows: Windows, logits: Sequence[Logits]
) -> Prediction:
    """The answer in the context, and its first character."""
    start, end = best_answer(
        logits, windows, may_be_empty=artifact.may_be_empty, threshold=artifact.threshold or 0.0
    )
    return {"answer": _text(row, "text_pair", "row")[start:end], "start": start}


def _mean(logits: Sequence[Logits]) -> np.ndarray:
    """The mean logits of the windows of a row (float64)."""
    return np.mean([values.astype(np.float64) for values in logits], axis=0)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


DECODERS: Mapping[str, Decode] = {
    "text-classification": _decode_class,
    "multi-label": _decode_labels,
    "regression": _decode_number,
    "token-classification": _decode_words,
    "question-answering": _decode_answer,
}
"""By kind of task, the function that makes a prediction."""

TASKS = tuple(DECODERS)
"""The kinds of tasks that have a pipeline."""
