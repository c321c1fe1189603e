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
from autotune.deployment.pipeline import Pipeline, describe_cut, make_encoder, make_pipeline
from autotune.deployment.predictor import Predictor
from autotune.deployment.programs import read_rows
from autotune.errors import DataError, UsageError
from autotune.trial.data.encoded_texts import encoded_texts
from autotune.trial.split import Split
from autotune.trial.tasks.texts import encode_texts, join_windows, text_stride
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
    [(encoding,)] = encoder.encode([{"text": first, "text_pair": second}])
    expected = made(first, second, truncation=True, max_length=ARTIFACT.max_length)
    assert encoder.arguments(encoding) == {
        "input_ids": expected["input_ids"],
        "token_type_ids": expected["token_type_ids"],
    }


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("is_paired", [False, True])
@pytest.mark.parametrize("stride", [0, 2])
def test_long_texts_have_the_windows_of_the_trial(
    tmp_path: Path, stride: int, is_paired: bool, side: str
) -> None:
    """The mean logits of the windows decide."""
    made = tokenizer()
    made.truncation_side = side
    counts = (1, 7, 30, 3, 11)
    texts = [" ".join(f"word{(i * 7 + n) % 45}" for i in range(n)) for n in counts]
    firsts = ("word3", "word3 " * 5, "word3 " * 9, "word3 " * 20, "word3")  # some leave no space
    inputs = [(a, b) if is_paired else (b,) for a, b in zip(firsts, texts, strict=True)]
    arrays = encode_texts(made, inputs, np.zeros(len(texts), np.int64), 12, stride)
    split = Split.from_arrays(arrays)
    made.save_pretrained(tmp_path)
    names = ("input_ids", "attention_mask", *(("token_type_ids",) if is_paired else ()))
    artifact = replace(
        ARTIFACT, task="regression", inputs=names, max_length=12, is_paired=is_paired,
        has_windows=True, stride=text_stride(12, stride), truncation_side=side,
    )  # fmt: skip
    predictor = Predictor(artifact, lambda arrays: np.sin(arrays["input_ids"].sum(1))[:, None])
    made_pipeline = make_pipeline(tmp_path, predictor)
    rows = [dict(zip(("text", "text_pair"), row, strict=False)) for row in inputs]
    encoder = made_pipeline.encoder
    windows = [encoder.arguments(w) for row in encoder.encode(rows) for w in row]
    assert [window["input_ids"] for window in windows] == [
        text["input_ids"].tolist() for text in encoded_texts(split)
    ]
    assert len(windows) > len(rows)
    logits = np.stack(predictor.predict_all(windows))
    predictions = made_pipeline.predict(rows)
    values = [prediction["value"] for prediction in predictions]
    np.testing.assert_allclose(values, join_windows(split, logits)[1][:, 0])
    assert describe_cut(predictions) is None


def test_the_first_of_a_pair_leaves_space_for_windows_of_the_second(tmp_path: Path) -> None:
    tokenizer().save_pretrained(tmp_path)
    artifact = replace(ARTIFACT, max_length=12, is_paired=True, has_windows=True, stride=3)
    first, second = " ".join(["word1"] * 40), " ".join(["word2"] * 9)
    (windows,) = make_encoder(tmp_path, artifact).encode([{"text": first, "text_pair": second}])
    assert [len(window.ids) for window in windows] == [12, 12, 12, 12, 12, 12]


def test_a_text_that_was_cut_is_named(tmp_path: Path) -> None:
    rows = [{"text": " ".join(["word1"] * count)} for count in (4, 5, 1)]
    predictions = pipeline(tmp_path, count_tokens).predict(rows)
    assert ["cut_to_tokens" in prediction for prediction in predictions] == [False, True, False]
    assert describe_cut(predictions) == "1 of 3 texts was cut to 6 tokens"
    assert describe_cut(predictions[:1]) is None


def test_each_word_has_the_label_of_its_first_token(tmp_path: Path) -> None:
    words = ["word0", "word1", "word2", "word3", "word4"]
    (prediction,) = pipeline(tmp_path, token_values, task="token-classification").predict(
        [{"tokens": words}]
    )
    fitting = words[: ARTIFACT.max_length - 2]
    labels = [LABELS[VOCABULARY[word] % 3] for word in fitting]
    assert prediction == {"labels": labels, "cut_to_tokens": ARTIFACT.max_length}


def test_words_without_tokens_keep_their_place(tmp_path: Path) -> None:
    words = ["word0", "", "word1", " "]
    (prediction,) = pipeline(tmp_path, token_values, task="token-classification").predict(
        [{"tokens": words}]
    )
    first, second = (LABELS[VOCABULARY[word] % 3] for word in ("word0", "word1"))
    assert prediction == {"labels": [first, None, second, None]}


def test_half_of_a_character_is_replaced(tmp_path: Path) -> None:
    """JSON can express it, tokenizers refuse it."""
    (prediction,) = pipeline(tmp_path, count_tokens).predict([{"text": "word1 \ud83d"}])
    assert prediction["label"] == "fair"
    words = {"tokens": ["word1", "\ud83d"]}
    (prediction,) = pipeline(tmp_path, token_values, task="token-classification").predict([words])
    assert len(prediction["labels"]) == 2


def test_long_texts_lose_the_side_that_the_tokenizer_names(tmp_path: Path) -> None:
    made = tokenizer()
    made.truncation_side = "left"
    made.save_pretrained(tmp_path)
    text = " ".join(f"word{n}" for n in range(9))
    encoder = make_encoder(tmp_path, replace(ARTIFACT, truncation_side="left"))
    [(encoding,)] = encoder.encode([{"text": text}])
    assert encoding.ids == made(text, truncation=True, max_length=ARTIFACT.max_length)["input_ids"]
    assert encoding.ids[-2] == VOCABULARY["word8"]


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
