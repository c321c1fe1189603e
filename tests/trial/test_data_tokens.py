"""Token classification: alignment with tokens, and scores of entities."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import tiny, write_jsonl
from trial_cases import make_job

from autotune.domain import Columns, Completed, Task
from autotune.errors import DataError
from autotune.trial import run
from autotune.trial.data.datasets import load_split, prepare_task
from autotune.trial.models import load_model
from autotune.trial.split import Split
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.token_classification import entities

SENTENCES = [
    (["Ada", "Lovelace", "lived", "in", "London", "."], "B-per I-per O O B-loc O"),
    (["\ufe0f", "nothing", "unbelievably", "here"], "O O O O"),
]


def task(tmp_path: Path, sentences: list[tuple[list[str], str]] = SENTENCES) -> Task:
    rows = [
        {"tokens": [*words, str(i)], "tags": f"{tags} O".split()}
        for i in range(20)
        for words, tags in sentences
    ]
    path = write_jsonl(tmp_path / "train.jsonl", rows)
    columns = Columns(text="tokens", label="tags")
    return tiny({"train": str(path)}, kind="token-classification", columns=columns)


def test_the_first_token_of_each_word_has_its_tag(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    prepared = prepare_task(task(tmp_path))
    assert prepared.label_names == ("B-loc", "B-per", "I-per", "O")
    assert prepared.sizes == {"train": 32, "validation": 4, "test": 4}
    split = load_split(prepared, "train")
    tokenizer = AutoTokenizer.from_pretrained(prepared.model_dir)
    pieces = tokenizer.convert_ids_to_tokens(split.tokens[: split.offsets[1]].tolist())
    labels = split.labels[: split.offsets[1]]
    starts = [not piece.startswith(("##", "[")) for piece in pieces]
    assert (labels != -100).tolist() == starts
    assert labels[starts].tolist() == [1, 2, 3, 3, 0, 3, 3]


def test_labels_beyond_the_maximum_length_are_told(tmp_path: Path) -> None:
    prepared = prepare_task(task(tmp_path, [(["Ada", *["word"] * 20], "B-per" + " O" * 20)]))
    labels = load_split(prepared, "validation").labels
    share = 1 - (labels != -100).sum() / (22 * prepared.sizes["validation"])
    assert share > 0.3
    note = f"validation: {share:.0%} of the labels are beyond 16 tokens and are not scored"
    assert any(text.startswith(note) for text in prepared.notes)
    prepared = prepare_task(task(tmp_path, [(["Ada", "word"], "B-per O")]))
    assert not any("of the labels" in text for text in prepared.notes)


@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_a_trial_learns_named_entities(tmp_path: Path, ratio: float) -> None:
    """Ada always is a person and London always a place."""
    job = replace(make_job(tmp_path, batch_size=4, learning_rate=3e-3, pruning_ratio=ratio),
                    task=replace(task(tmp_path), epochs=10))  # fmt: skip
    outcome = run.run_trial(job, lambda point: None)
    assert isinstance(outcome, Completed)
    measured = outcome.result.measurements
    assert measured["f1"].value > 0.9 and measured["accuracy"].value > 0.9
    assert "mcc" not in measured


def test_a_model_learns_from_a_batch_and_predictions_are_scattered(tmp_path: Path) -> None:
    prepared = prepare_task(task(tmp_path))
    split, model = load_split(prepared, "train"), load_model(prepared)
    batch = split.batch([0, 1], prepared.pad_token_id)
    answer = model(**{name: torch.from_numpy(value) for name, value in batch.items()})
    assert answer.logits.shape[2] == 4 and torch.isfinite(answer.loss)
    out = np.full_like(split.labels, -1)
    split.scatter([0, 1], batch["labels"], out, by_token=True)
    assert (out[: split.offsets[2]] == split.labels[: split.offsets[2]]).all()
    assert (out[split.offsets[2] :] == -1).all()


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("B-a I-a O B-b", [(0, 2, "a"), (3, 4, "b")]),
        ("B-a B-a I-b", [(0, 1, "a"), (1, 2, "a"), (2, 3, "b")]),
        ("O I-a I-a", [(1, 3, "a")]),
        ("NOUN O NOUN", [(0, 1, "NOUN"), (2, 3, "NOUN")]),
        ("O O", []),
    ],
)
def test_entities(tags: str, spans: list[Any]) -> None:
    assert list(entities(tags.split())) == spans


def test_f1_is_that_of_entities() -> None:
    names = ("O", "B-a", "I-a", "B-b")
    labels = np.array([-100, 1, 2, 0, 3, -100, -100, 1, 0, -100])
    offsets = np.array([0, 6, 10])
    predictions = np.array([1, 1, 0, 0, 3, 3, 3, 1, 0, 3])
    split = Split(np.zeros(10, np.int32), offsets, labels)
    found = get_task_type("token-classification").scores(split, predictions, names)
    assert found["accuracy"].value == pytest.approx(5 / 6) and found["accuracy"].n == 6
    assert found["f1"].value == pytest.approx(2 / 3) and found["f1"].n == 3
    low, high = found["f1"].ci95 or (1.0, 0.0)
    assert low <= 2 / 3 <= high


def test_invalid_rows_are_errors(tmp_path: Path) -> None:
    for sentence, message in (
        ((["one"], "O O"), r"train.jsonl:1: 3 tags for 2 tokens"),
        (([], ""), r"only one label"),
    ):
        with pytest.raises(DataError, match=message):
            prepare_task(task(tmp_path, [sentence]))
    path = write_jsonl(tmp_path / "text.jsonl", [{"text": "plain", "label": ["O"]}])
    with pytest.raises(DataError, match=r"text.jsonl:1: text is not a list of tokens"):
        prepare_task(tiny({"train": str(path)}, kind="token-classification"))
