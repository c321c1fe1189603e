"""Extractive question answering: windows of contexts, positions, answers and scores of SQuAD."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import tiny, write_jsonl
from trial_cases import make_job

from autotune.deployment.artifact import Artifact
from autotune.deployment.inputs import Arrays
from autotune.deployment.pipeline import make_encoder, make_pipeline
from autotune.deployment.predictor import Predictor
from autotune.domain import Completed, Task
from autotune.domain.tasks import TASK_KINDS
from autotune.errors import DataError
from autotune.trial import run
from autotune.trial.data.batching import select_examples
from autotune.trial.data.datasets import load_split, prepare_task, read_examples
from autotune.trial.data.encoded_texts import encoded_texts
from autotune.trial.data.tokenizer import load_inputs
from autotune.trial.loss import build_loss, label_arguments, output_logits
from autotune.trial.models import load_model
from autotune.trial.split import Split
from autotune.trial.squad import score_answer
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.base import ThresholdTask
from autotune.trial.tasks.context_windows import window_stride
from autotune.trial.tasks.question_answering import best_threshold
from autotune.trial.thresholds import apply_threshold

KIND = "question-answering"
CITIES = ("Paris", "Vienna", "Lagos", "Lima", "Oslo", "Turin")


def example(index: int, padding: int = 0, is_answered: bool = True) -> dict[str, Any]:
    city = CITIES[index % 6]
    context = f"{'many words before it ' * padding}the fair {index} took place in {city} itself"
    answers = {"text": [city], "answer_start": [context.index(city)]} if is_answered else None
    return {
        "question": f"where was the fair {index}",
        "context": context,
        "answers": answers or {"text": [], "answer_start": []},
    }


def task(folder: Path, padding: int = 0, unanswered: int = 0, max_length: int = 24) -> Task:
    dataset = {}
    for split, count in (("train", 24), ("validation", 8), ("test", 8)):
        rows = [example(i, padding, i >= unanswered) for i in range(count)]
        dataset[split] = str(write_jsonl(folder / f"{split}.jsonl", rows))
    return tiny(dataset, kind=KIND, columns=TASK_KINDS[KIND].columns, max_length=max_length)


def perfect_logits(split: Split) -> np.ndarray:
    """Logits of the labels of each window; lower ones where these are no answer."""
    logits = np.full((len(split.tokens), 2), -9.0, dtype=np.float32)
    for row, (first, last) in enumerate(split.labels):
        start = split.offsets[row]
        logits[start + first, 0] = logits[start + last, 1] = 5.0 if last else 1.0
    return logits


def test_scores_are_those_of_squad() -> None:
    assert score_answer("The  Eiffel Tower!", ["eiffel tower", "tower"]) == (1.0, 1.0)
    assert score_answer("eiffel tower in paris", ["Eiffel Tower"]) == (0.0, pytest.approx(2 / 3))
    assert score_answer("rain", ["snow"]) == (0.0, 0.0)
    assert score_answer("", []) == (1.0, 1.0)
    assert score_answer("rain", []) == (0.0, 0.0)
    assert score_answer("", ["rain"]) == (0.0, 0.0)


@pytest.mark.parametrize("padding", [0, 12])
def test_windows_contain_each_answer(tmp_path: Path, padding: int) -> None:
    own_task = task(tmp_path, padding, unanswered=2)
    prepared, examples = prepare_task(own_task), read_examples(own_task)["validation"]
    split = load_split(prepared, "validation")
    assert (len(split) > len(examples)) == (padding > 0)
    assert split.lengths.max() <= prepared.max_length
    answered = set()
    for row, example_index in enumerate(split.extras["row_example"]):
        characters = split.extras["token_characters"][split.offsets[row] : split.offsets[row + 1]]
        first, last = split.labels[row]
        if last:
            context = examples.inputs[example_index][1]
            text = context[characters[first, 0] : characters[last, 1]]
            assert text == examples.labels[example_index][0][0]
            answered.add(int(example_index))
    assert answered == set(range(2, 8))
    task_type = get_task_type(KIND)
    scores = task_type.scores(split, perfect_logits(split), prepared.label_names)
    assert {score.value for score in scores.values()} == {1.0}
    assert scores["exact_match"].n == 8
    hits = task_type.hits(split, perfect_logits(split))
    assert hits is not None and hits.tolist() == [True] * 8
    wrong = task_type.scores(split, np.zeros((len(split.tokens), 2), np.float32), ())
    assert wrong["exact_match"].value < 0.3


def test_a_part_of_a_split_is_scored_on_its_questions(tmp_path: Path) -> None:
    split = load_split(prepare_task(task(tmp_path)), "validation")
    part = select_examples(split, np.array([5, 2]))
    labels, predictions = get_task_type(KIND).decode(part, perfect_logits(part))
    assert predictions == ["Lagos", "Turin"] and labels == [["Lagos"], ["Turin"]]


def test_a_split_whose_answers_are_withheld_is_not_used(tmp_path: Path) -> None:
    own = task(tmp_path)
    rows = [example(i, is_answered=False) for i in range(8)]
    write_jsonl(tmp_path / "test.jsonl", rows)
    prepared = prepare_task(own)
    assert "test: no question has an answer, so it is not used" in prepared.notes
    references = json.loads(load_split(prepared, "test").extras["references"].tobytes())
    assert references and all(answers for _, answers in references)  # a part of train


def test_no_answer_is_given_only_where_some_questions_have_none(tmp_path: Path) -> None:
    split = load_split(prepare_task(task(tmp_path)), "validation")
    logits = perfect_logits(split)
    logits[split.offsets[0]] = 50.0  # the first token of the first window: no answer
    assert get_task_type(KIND).decode(split, logits)[1][0] == "Paris"
    folder = tmp_path / "some"
    folder.mkdir()
    split = load_split(prepare_task(task(folder, unanswered=1)), "validation")
    logits = perfect_logits(split)
    logits[split.offsets[3]] = 50.0
    assert get_task_type(KIND).decode(split, logits)[1][3] == ""


def test_the_threshold_of_no_answer_is_the_best_one_of_squad() -> None:
    """Four questions: the last two have no answer, and every answer is right."""
    gains = np.array([1.0, 1.0, -1.0, -1.0])
    assert best_threshold(np.array([1.0, 2.0, 4.0, 5.0]), gains) == 3.0
    assert best_threshold(np.array([-5.0, -3.0, -1.5, -0.5]), gains) == -2.25
    assert best_threshold(np.array([-2.0, -1.0, 1.0, 2.0]), gains) == 0.0, "as good as another"
    assert best_threshold(np.array([2.0, 2.0, 2.0]), np.array([1.0, 1.0, -1.0])) == 2.5
    assert best_threshold(np.array([-2.0, -1.0]), np.array([-1.0, -1.0])) == -2.5
    assert best_threshold(np.array([]), np.array([])) == 0.0


def test_a_threshold_decides_whether_there_is_an_answer(tmp_path: Path) -> None:
    split = load_split(prepare_task(task(tmp_path, unanswered=2)), "validation")
    task_type, logits = get_task_type(KIND), perfect_logits(split)
    assert isinstance(task_type, ThresholdTask)
    assert task_type.tune_threshold(split, logits) == 0.0
    logits[split.offsets[:-1], 0] += 30.0  # no answer is too likely everywhere
    assert task_type.scores(split, logits, ())["f1"].value == 0.25
    threshold = task_type.tune_threshold(split, logits)
    assert threshold > 0
    moved = task_type.apply_threshold(split, logits, threshold)
    assert task_type.scores(split, moved, ())["f1"].value == 1.0


@pytest.mark.parametrize(("unanswered", "threshold"), [(0, None), (2, None), (2, -0.4)])
def test_answers_of_an_exported_model_are_those_of_the_trial(
    tmp_path: Path, unanswered: int, threshold: float | None
) -> None:
    own_task = task(tmp_path, padding=12, unanswered=unanswered)
    prepared, examples = prepare_task(own_task), read_examples(own_task)["validation"]
    split = load_split(prepared, "validation")
    tokenizer = load_inputs(Path(prepared.model_dir), {}, prepared.max_length).tokenizer
    tokenizer.save_pretrained(tmp_path)

    def session(arrays: Arrays) -> np.ndarray:
        """Any logits that depend on tokens and their positions only."""
        phases = arrays["input_ids"] * 1.7 + np.arange(arrays["input_ids"].shape[1])
        return np.stack([np.sin(phases), np.cos(phases)], axis=-1).astype(np.float32)

    artifact = Artifact(
        KIND, ("LABEL_0", "LABEL_1"), ("input_ids",), 0, prepared.max_length, "none", "none", 4, 1,
        "bucketed", is_paired=True, stride=window_stride(prepared.max_length, None),
        may_be_empty=unanswered > 0, threshold=threshold,
    )  # fmt: skip
    predictor = Predictor(artifact, session)
    rows = [{"text": question, "text_pair": context} for question, context in examples.inputs]
    predictions = make_pipeline(tmp_path, predictor).predict(rows)
    logits = np.concatenate(predictor.predict_all(encoded_texts(split)))
    logits = apply_threshold(KIND, split, logits, threshold)
    assert len(split) > len(rows)
    assert [p["answer"] for p in predictions] == get_task_type(KIND).decode(split, logits)[1]
    encoder = make_encoder(tmp_path, artifact)
    windows = [window for row in encoder.encode(rows) for window in row]
    assert [w.ids for w in windows] == [list(text["input_ids"]) for text in encoded_texts(split)]
    for row, prediction in zip(rows, predictions, strict=True):
        assert row["text_pair"][prediction["start"] :].startswith(prediction["answer"])


def test_the_loss_is_that_of_transformers(tmp_path: Path) -> None:
    prepared = prepare_task(task(tmp_path))
    split, model = load_split(prepared, "train"), load_model(prepared)
    arrays = split.batch([0, 1, 2], prepared.pad_token_id)
    batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
    labels = batch.pop("labels")
    output = model(**batch, **label_arguments(TASK_KINDS[KIND], labels))
    loss = build_loss(prepared)(output_logits(output), labels) / labels.numel()
    assert loss.item() == pytest.approx(output.loss.item(), rel=1e-6)


def test_a_trial_answers_questions(tmp_path: Path) -> None:
    job = replace(make_job(tmp_path, pruning_ratio=0.25), task=task(tmp_path, padding=4))
    outcome = run.run_trial(job, lambda point: None)
    assert isinstance(outcome, Completed), outcome
    measured = outcome.result.measurements
    assert {"exact_match", "f1", "loss"} <= measured.keys() and "accuracy" not in measured
    assert measured["train_samples"].value > 24  # windows
    assert outcome.result.correctness is not None and outcome.result.correctness.num_labels == 8


def test_files_of_squad_are_read(tmp_path: Path) -> None:
    rows = [example(i, is_answered=i > 1) for i in range(24)]
    document = {"version": "v2.0", "data": [{"title": "fairs", "paragraphs": [
        {"context": row["context"], "qas": [{"id": str(i), "question": row["question"], "answers": [
            {"text": text, "answer_start": start}
            for text, start in zip(*row["answers"].values(), strict=True)
        ]}]}
        for i, row in enumerate(rows)
    ]}]}  # fmt: skip
    path = tmp_path / "train-v2.0.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    squad = tiny({"train": str(path)}, kind=KIND, columns=TASK_KINDS[KIND].columns)
    examples = read_examples(squad)["train"]
    assert len(examples) == 20 and all(len(labels) <= 1 for labels in examples.labels)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ("Paris", r"train.jsonl:1: the answers are 'Paris'"),
        ({"text": ["Paris"], "answer_start": []}, r"train.jsonl:1: the answers are"),
        ({"text": ["Rome"], "answer_start": [4]}, r"has 'fair' at character 4, not the answer"),
    ],
)
def test_invalid_answers_are_errors(tmp_path: Path, answers: Any, message: str) -> None:
    rows = [{**example(i), "answers": answers} for i in range(4)]
    path = write_jsonl(tmp_path / "train.jsonl", rows)
    own_task = tiny({"train": str(path)}, kind=KIND, columns=TASK_KINDS[KIND].columns)
    with pytest.raises(DataError, match=message):
        prepare_task(own_task)
