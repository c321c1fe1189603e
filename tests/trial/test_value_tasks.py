"""Regression and several labels an example: rows, losses, and scores of the usual packages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import rows, tiny, write_jsonl
from scipy import stats
from sklearn import metrics as sklearn_metrics
from trial_cases import make_job

from autotune.deployment import trained_model
from autotune.domain import Columns, Completed, Phase, Task
from autotune.domain.metrics import METRICS, Metric, MetricKind
from autotune.errors import DataError
from autotune.trial import metrics, run
from autotune.trial.data.datasets import load_split, prepare_task, read_examples
from autotune.trial.loss import build_loss
from autotune.trial.models import load_model
from autotune.trial.split import Split
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.base import ThresholdTask
from autotune.trial.thresholds import apply_threshold, choose_threshold

PAIR = Columns(text="text", text_pair="other", label="label")


def task(folder: Path, kind: str, labels: tuple[Any, ...], **settings: Any) -> Task:
    """24 pairs of texts for training and 12 for each other split, with ``labels`` in turn."""
    dataset = {}
    for split, count in (("train", 24), ("validation", 12), ("test", 12)):
        examples = [{**row, "other": f"a {row['text']}"} for row in rows(count, labels)]
        dataset[split] = str(write_jsonl(folder / f"{split}.jsonl", examples))
    return tiny(dataset, kind=kind, columns=PAIR, **settings)


def test_regression_scores_are_those_of_scipy_and_sklearn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 200).astype(np.float32)  # with ties
    predictions = (labels + rng.normal(0, 2, 200)).round(1).astype(np.float32)
    scores = metrics.regression_scores(labels, predictions)
    expected = {
        "pearson": stats.pearsonr(labels.astype(float), predictions.astype(float)).statistic,
        "spearman": stats.spearmanr(labels, predictions).statistic,
        "rmse": sklearn_metrics.root_mean_squared_error(labels.astype(float), predictions),
    }
    assert {name: score.value for name, score in scores.items()} == pytest.approx(expected)
    for score in scores.values():
        low, high = score.ci95 or (1.0, 0.0)
        assert low < score.value < high < low + 0.5
    flat = metrics.regression_scores(labels, np.zeros(200, np.float32))
    assert flat["pearson"].value == flat["spearman"].value == 0.0


def test_labels_that_are_all_missing_in_train_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="every label is -1"):
        prepare_task(task(tmp_path, "regression", (-1,)))


def test_numbers_of_labels_are_integers_in_tables_too(tmp_path: Path) -> None:
    lines = ["text,label", *(f'"words of {i}","{i % 2}.0,{i % 3}"' for i in range(24))]
    path = tmp_path / "train.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    own = tiny({"train": str(path)}, kind="multi-label", columns=Columns())
    assert prepare_task(own).label_names == ("0", "1", "2")


def test_multi_label_scores_are_those_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    labels, logits = rng.random((100, 5)) < 0.3, rng.normal(size=(100, 5)).round(1)
    labels[:, 4] = False
    logits[:, 4] = -1.0  # neither occurs nor is predicted
    logits[0] = 0.5  # ties
    scores = metrics.multi_label_scores(labels, logits)
    predictions = logits > 0
    f1 = {
        name: sklearn_metrics.f1_score(labels, predictions, average=average, zero_division=0)
        for name, average in (("f1", "macro"), ("f1_micro", "micro"))
    }
    assert {name: score.value for name, score in scores.items()} == pytest.approx(
        {
            **f1,
            "accuracy": sklearn_metrics.accuracy_score(labels, predictions),
            "ranking_precision": sklearn_metrics.label_ranking_average_precision_score(
                labels, logits
            ),
        }
    )
    assert all(score.ci95 is not None for score in scores.values())


def test_scores_of_the_user_get_a_row_of_labels_for_each_example() -> None:
    def share_of_rows(labels: Any, predictions: Any, label_names: Any) -> float:
        assert labels.shape == predictions.shape == (4, len(label_names))
        return float((labels == predictions).all(axis=1).mean())

    score = Metric(
        "share_of_rows", "rows", "ratio", "maximize", Phase.TRAIN, "Correct rows",
        kind=MetricKind.SHARE, score=share_of_rows,
    )  # fmt: skip
    METRICS.register(score)
    try:
        labels = np.array([[1, 0], [0, 0], [1, 1], [0, 1]])
        predictions = np.array([[1, 0], [0, 1], [1, 1], [0, 1]])
        (measured,) = metrics.registered_scores("multi-label", labels, predictions, ("a", "b"))
    finally:
        METRICS.unregister("share_of_rows")
    assert (measured.value, measured.n) == (0.75, 4)


def test_a_test_split_is_scored_with_the_threshold_of_validation(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    own_task = task(tmp_path, "multi-label", (["a"], ["b", "c"], []), threshold="auto")
    job = replace(job, task=own_task, on_test_split=True, keeps_model=True)
    outcome = run.run_trial(job, lambda point: None)
    assert isinstance(outcome, Completed)
    threshold = outcome.result.environment["threshold"]
    prepared = prepare_task(own_task)
    folder = Path(job.directory) / "model"
    assert trained_model.read_facts(folder).threshold == threshold
    model, scores = trained_model.load(folder), {}
    for name in ("validation", "test"):
        split = load_split(prepared, name)
        batch = split.batch(np.arange(len(split)), prepared.pad_token_id)
        inputs = {k: torch.from_numpy(array) for k, array in batch.items() if k != "labels"}
        with torch.inference_mode():
            logits = model(**inputs).logits.numpy()
        if name == "validation":
            assert choose_threshold(prepared, split, logits) == pytest.approx(threshold, abs=0.011)
        moved = apply_threshold("multi-label", split, logits, threshold)
        scores[name] = metrics.multi_label_scores(split.labels > 0, moved)["f1_micro"].value
    assert outcome.result.measurements["f1_micro"].value == pytest.approx(scores["test"], abs=1e-6)


def test_the_threshold_of_labels_is_the_best_one() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((60, 4)) < 0.3).astype(np.float32)
    logits = (labels * 2 - 3 + rng.normal(0, 0.7, labels.shape)).astype(np.float32)
    split = Split(np.zeros(60, np.int32), np.arange(61), labels)
    task_type = get_task_type("multi-label")
    assert isinstance(task_type, ThresholdTask)
    threshold = task_type.tune_threshold(split, logits)
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    best = max(
        sklearn_metrics.f1_score(labels, probabilities > t / 100, average="micro")
        for t in range(1, 100)
    )
    moved = task_type.apply_threshold(split, logits, threshold)
    assert task_type.scores(split, moved, ())["f1_micro"].value == pytest.approx(best)
    assert threshold < 0.4
    perfect = (labels * 2 - 1) * 9
    assert task_type.tune_threshold(split, perfect) == 0.5


@pytest.mark.parametrize(
    ("kind", "labels"),
    [("regression", (0.5, 4, "2.25")), ("multi-label", (["a", "b"], [], "b, c"))],
)
def test_the_loss_is_that_of_transformers(
    tmp_path: Path, kind: str, labels: tuple[Any, ...]
) -> None:
    prepared = prepare_task(task(tmp_path, kind, labels))
    split, model = load_split(prepared, "train"), load_model(prepared)
    batch = split.batch([0, 1, 2], prepared.pad_token_id)
    inputs = {name: torch.from_numpy(array) for name, array in batch.items()}
    output = model(**inputs)
    loss = build_loss(prepared)(output.logits, inputs["labels"]) / inputs["labels"].numel()
    assert loss.item() == pytest.approx(output.loss.item(), rel=1e-6)
    ignored = torch.full_like(inputs["labels"], float("nan"))
    assert build_loss(prepared)(output.logits, ignored).item() == 0.0


@pytest.mark.parametrize(
    ("kind", "labels", "scores"),
    [
        ("regression", (0.0, 5.0), {"pearson", "spearman", "rmse"}),
        ("multi-label", (["a"], ["b", "c"]), {"accuracy", "f1", "f1_micro", "ranking_precision"}),
    ],
)
def test_a_trial_measures_the_scores_of_its_kind(
    tmp_path: Path, kind: str, labels: tuple[Any, ...], scores: set[str]
) -> None:
    job = replace(make_job(tmp_path), task=task(tmp_path, kind, labels))
    outcome = run.run_trial(job, lambda point: None)
    assert isinstance(outcome, Completed)
    measured = outcome.result.measurements
    assert scores | {"loss", "train_samples_per_second"} <= measured.keys()
    assert "mcc" not in measured and "exact_match" not in measured
    assert (outcome.result.correctness is None) == (kind == "regression")


def test_rows_are_written_as_they_are_read(tmp_path: Path) -> None:
    for kind, labels in (("regression", (1.5, -1)), ("multi-label", (["b", "a"], []))):
        folder = tmp_path / kind
        folder.mkdir()
        own_task = task(folder, kind, labels)
        task_type, examples = get_task_type(kind), read_examples(own_task)["train"]
        written = [
            task_type.to_row(inputs, label, own_task.columns)
            for inputs, label in zip(examples.inputs, examples.labels, strict=True)
        ]
        again = tiny(
            {"train": str(write_jsonl(folder / "again.jsonl", written))},  # type: ignore[arg-type]
            kind=kind,
            columns=PAIR,
        )
        assert written[0]["label"] in labels
        assert task_type.example_labels(examples.labels[0]) == (
            () if kind == "regression" else ("b", "a")
        )
        assert len(read_examples(again)["train"]) < len(examples)  # the others are held out


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        ("regression", (1.0, "high"), r"train.jsonl:2: the label is 'high'"),
        ("regression", (1.0, None), r"train.jsonl:2: the label is missing"),
        ("regression", (True, 2.0), r"train.jsonl:1: the label is True"),
        ("regression", (3,), r"every label is 3; there is nothing to learn"),
        ("multi-label", (["a", "b"], 3), r"train.jsonl:2: the labels are 3, not a list"),
        ("multi-label", ([],), r"no row has a label"),
    ],
)
def test_invalid_labels_are_errors(
    tmp_path: Path, kind: str, labels: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        prepare_task(task(tmp_path, kind, labels))
