"""Rows become the tokens of the trial, and logits the labels that its scores count."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autotune.deployment.artifact import TOKENIZER, Artifact
from autotune.deployment.inputs import Arrays, batch_indices, pad
from autotune.deployment.pipeline import Pipeline, make_encoder, make_pipeline
from autotune.deployment.predictor import Predictor
from autotune.deployment.programs import read_rows
from autotune.errors import DataError, UsageError
from tests.deployment.tiny_models import LABELS, VOCABULARY, tokenizer

ARTIFACT = Artifact(
    task="text-classification",
    labels=LABELS,
    inputs=("input_ids", "attention_mask"),
    pad_token_id=0,
    max_length=6,
    runtime="none",
    quantization="none",
    batch_size=2,
    threads=1,
    padding="bucketed",
)


def count_tokens(arrays: Arrays) -> np.ndarray:
    """Logits that are the largest for the label whose index is the number of tokens minus 3."""
    lengths = arrays["attention_mask"].sum(axis=1)
    return -np.abs(lengths[:, None] - 3 - np.arange(len(LABELS))).astype(np.float32)


def token_values(arrays: Arrays) -> np.ndarray:
    """For each token, the largest logit for the label whose index is the id modulo 3."""
    return np.eye(3, dtype=np.float32)[arrays["input_ids"] % 3]


def pipeline(folder: Path, session: Any, **changes: Any) -> Pipeline:
    tokenizer().save_pretrained(folder)
    return make_pipeline(folder, Predictor(replace(ARTIFACT, **changes), session))


def test_predictions_have_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = [{"text": " ".join(["word1"] * count)} for count in (3, 1, 2, 1)]
    predictions = pipeline(tmp_path, count_tokens).predict(rows)
    assert [p["label"] for p in predictions] == ["good", "bad", "fair", "bad"]
    assert predictions[1]["score"] == pytest.approx(np.exp(0) / np.exp([0, -1, -2]).sum())


def test_tokens_are_those_of_transformers(tmp_path: Path) -> None:
    made = tokenizer()
    made.save_pretrained(tmp_path)
    names = ("input_ids", "attention_mask", "token_type_ids")
    encoder = make_encoder(tmp_path, replace(ARTIFACT, inputs=names, is_paired=True))
    first, second = "word1 word2 word3 word4", "word5 other"
    (encoding,) = encoder.encode([{"text": first, "text_pair": second}])
    expected = made(first, second, truncation=True, max_length=ARTIFACT.max_length)
    assert encoder.arguments(encoding) == {
        "input_ids": expected["input_ids"],
        "token_type_ids": expected["token_type_ids"],
    }


def test_each_word_has_the_label_of_its_first_token(tmp_path: Path) -> None:
    words = ["word0", "word1", "word2", "word3", "word4"]
    (prediction,) = pipeline(tmp_path, token_values, task="token-classification").predict(
        [{"tokens": words}]
    )
    fitting = words[: ARTIFACT.max_length - 2]
    assert prediction == {"labels": [LABELS[VOCABULARY[word] % 3] for word in fitting]}


def test_several_labels_can_hold_at_once(tmp_path: Path) -> None:
    def session(arrays: Arrays) -> np.ndarray:
        return np.array([[2.0, -1.0, 0.5]], dtype=np.float32)

    (prediction,) = pipeline(tmp_path, session, task="multi-label").predict([{"text": "word1"}])
    assert prediction["labels"] == ["bad", "good"]
    assert prediction["scores"]["fair"] == pytest.approx(1 / (1 + np.e))
    strict = pipeline(tmp_path, session, task="multi-label", threshold=0.7)
    assert strict.predict([{"text": "word1"}])[0]["labels"] == ["bad"]


def test_regression_predicts_the_number(tmp_path: Path) -> None:
    def session(arrays: Arrays) -> np.ndarray:
        return np.array([[1.25]], dtype=np.float32)

    assert pipeline(tmp_path, session, task="regression").predict([{"text": "word1"}]) == [
        {"value": 1.25}
    ]


@pytest.mark.parametrize("row", [{}, {"text": ""}, {"text": 3}, {"label": "bad"}, ["text"]])
def test_a_row_without_text_is_named(tmp_path: Path, row: Any) -> None:
    with pytest.raises(DataError, match="row 2 has no text"):
        pipeline(tmp_path, count_tokens).predict([{"text": "word1"}, row])


def test_a_kind_of_task_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ranking"):
        pipeline(tmp_path, count_tokens, task="ranking")


def test_a_line_that_is_no_row_is_named() -> None:
    with pytest.raises(DataError, match=r"texts\.jsonl:3: not a JSON object"):
        read_rows(StringIO('{"text": "a"}\n\n["b"]\n'), "texts.jsonl")


def test_batches_are_padded_to_their_longest_text() -> None:
    texts = [{"input_ids": [5, 6, 7]}, {"input_ids": [8]}]
    arrays = pad(texts, ("input_ids", "attention_mask"), pad_token_id=1)
    assert arrays["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1]]
    assert arrays["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_buckets_hold_texts_of_similar_length() -> None:
    lengths = [3, 9, 4, 8, 1]
    buckets = [rows.tolist() for rows in batch_indices(lengths, 2, "bucketed")]
    assert buckets == [[1, 3], [2, 0], [4]]
    assert [rows.tolist() for rows in batch_indices(lengths, 2, "dynamic")] == [[0, 1], [2, 3], [4]]


def test_the_tokenizer_has_the_name_that_artifacts_read(tmp_path: Path) -> None:
    tokenizer().save_pretrained(tmp_path)
    assert (tmp_path / TOKENIZER).is_file()
