"""Each task kind against a script with Hugging Face's Trainer: the losses of 20 steps, and scores.

The scores are those of the model that Trainer has trained. The script computes them with
scikit-learn, SciPy and seqeval from the logits of ``Trainer.predict``, and for questions by trying
all spans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import tiny, write_jsonl
from scipy import stats
from seqeval.metrics import f1_score as entity_f1
from sklearn import metrics as sklearn_metrics
from transformers import (
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)
from trial_cases import CPU, make_collator, make_plan, make_strategy

from autotune.domain import Columns, Task
from autotune.domain.tasks import TASK_KINDS
from autotune.trial import evaluation
from autotune.trial.data.batching import Indices, training_collator
from autotune.trial.data.datasets import PreparedTask, load_split, prepare_task, read_examples
from autotune.trial.distributed.process_group import SingleProcess
from autotune.trial.effects.precision import Precision
from autotune.trial.loss import build_loss, label_arguments
from autotune.trial.models import load_model
from autotune.trial.split import Split
from autotune.trial.squad import score_answer
from autotune.trial.training import init_train_state, train_step

STEPS, BATCH_SIZE, RATE = 20, 4, 5e-4
PAIR = Columns("text", "other")
WORDS = ("tall", "small", "green", "warm", "loud")

Row = dict[str, Any]


def pair_row(index: int, label: Any) -> Row:
    text = f"the {WORDS[index % 5]} house number {index % 7}"
    return {"text": text, "other": f"a {WORDS[index % 3]} one", "label": label}


def tag_row(index: int) -> Row:
    tags = ["B-PER", "I-PER", "O", "B-LOC"]
    return {"text": ["Ada", WORDS[index % 5], "in", "London"][: 2 + index % 3],
            "label": tags[: 2 + index % 3]}  # fmt: skip


def question_row(index: int) -> Row:
    context = f"the {WORDS[index % 5]} house number {index} was built and is in town now"
    answers: Row = {"text": [], "answer_start": []}
    if index % 4:
        answers = {"text": [WORDS[index % 5]], "answer_start": [4]}
    return {"question": f"how is house {index}", "context": context, "answers": answers}


ROWS: Mapping[str, Callable[[int], Row]] = {
    "text-classification": lambda i: pair_row(i, WORDS[i % 3]),
    "regression": lambda i: pair_row(i, i % 5 * 0.75),
    "multi-label": lambda i: pair_row(i, [*WORDS[: i % 3], "warm"][: 1 + i % 2]),
    "token-classification": tag_row,
    "question-answering": question_row,
}


def make_task(folder: Path, kind: str) -> Task:
    sizes = {"train": 32, "validation": 16, "test": 16}
    files = {
        split: str(write_jsonl(folder / f"{split}.jsonl", [ROWS[kind](i) for i in range(size)]))
        for split, size in sizes.items()
    }
    has_pair = ROWS[kind](0).keys() >= {"other"}
    columns = PAIR if has_pair else TASK_KINDS[kind].columns
    return tiny(files, kind=kind, columns=columns, max_length=24)


def run_trial(prepared: PreparedTask) -> tuple[list[float], list[Indices]]:
    """The losses of a trial's steps, and the rows of its batches."""
    strategy = make_strategy(batch_size=BATCH_SIZE, learning_rate=RATE, dropout=0.0)
    collate = training_collator(strategy, prepared, load_split(prepared, "train"), CPU)
    state = init_train_state(strategy, prepared, collate, seed=0)
    batches = list(islice(make_plan(collate, STEPS, BATCH_SIZE).batches(), STEPS))
    losses = [
        float(train_step(state, [collate(rows)], RATE * (1 - step / STEPS)))
        for step, rows in enumerate(batches)
    ]
    return losses, batches


def evaluate(prepared: PreparedTask, model: PreTrainedModel) -> tuple[dict[str, float], np.ndarray]:
    """The scores of a trial for ``model`` on validation, and the predicted values."""
    split, precision = load_split(prepared, "validation"), Precision("fp32", CPU)
    collate, loss = make_collator(split), build_loss(prepared)
    predictions = evaluation.predict(model, precision, collate, SingleProcess(CPU), loss)
    scores = evaluation.score(predictions, split, prepared)
    return {score.name: score.value for score in scores}, predictions.values


def run_trainer(
    prepared: PreparedTask, batches: list[Indices], folder: Path
) -> tuple[list[float], PreTrainedModel, Any]:
    """The losses of Trainer's steps, its model, and the logits of this for validation."""

    class SameOrderTrainer(Trainer):
        def _get_train_sampler(self, train_dataset: object = None) -> list[int]:  # type: ignore[override]
            return [int(row) for rows in batches for row in rows]

    tokenizer = AutoTokenizer.from_pretrained(prepared.model_dir)
    by_token = TASK_KINDS[prepared.kind].label_per_token
    collator = DataCollatorForTokenClassification if by_token else DataCollatorWithPadding
    arguments = TrainingArguments(
        str(folder), per_device_train_batch_size=BATCH_SIZE, max_steps=STEPS, learning_rate=RATE,
        use_cpu=True, report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True,
        per_device_eval_batch_size=1,
    )  # fmt: skip
    model = load_model(prepared, dropout=0.0, seed=0)
    trainer = SameOrderTrainer(
        model,
        arguments,
        train_dataset=trainer_rows(prepared, "train"),  # type: ignore[arg-type]
        data_collator=collator(tokenizer),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    output = trainer.predict(trainer_rows(prepared, "validation"))  # type: ignore[arg-type]
    return losses, model, output.predictions


def trainer_rows(prepared: PreparedTask, name: str) -> list[Row]:
    split, kind = load_split(prepared, name), TASK_KINDS[prepared.kind]
    rows = []
    for index in range(len(split)):
        batch = split.batch([index], prepared.pad_token_id)
        labels = label_arguments(kind, torch.from_numpy(batch.pop("labels")))
        arrays = {**batch, **{name: label.numpy() for name, label in labels.items()}}
        rows.append({name: array[0].tolist() for name, array in arrays.items()})
    return rows


def expected_scores(kind: str, prepared: PreparedTask, logits: Any, task: Task) -> dict[str, float]:
    split, names = load_split(prepared, "validation"), prepared.label_names
    labels: Any = split.labels
    if kind == "text-classification":
        classes = logits.argmax(-1)
        return {
            "accuracy": sklearn_metrics.accuracy_score(labels, classes),
            "f1": sklearn_metrics.f1_score(labels, classes, average="macro"),
            "mcc": sklearn_metrics.matthews_corrcoef(labels, classes),
        }
    if kind == "regression":
        values = logits[:, 0]
        return {
            "pearson": stats.pearsonr(labels.astype(float), values.astype(float)).statistic,
            "spearman": stats.spearmanr(labels, values).statistic,
            "rmse": sklearn_metrics.root_mean_squared_error(labels, values),
        }
    if kind == "multi-label":
        applies = logits > 0
        f1 = [
            sklearn_metrics.f1_score(labels, applies, average=average, zero_division=0)
            for average in ("macro", "micro")
        ]
        ranking = sklearn_metrics.label_ranking_average_precision_score(labels > 0, logits)
        return {"f1": f1[0], "f1_micro": f1[1], "ranking_precision": ranking}
    if kind == "token-classification":
        tags = [
            [
                [names[i] for i in values[keep]]
                for values in (own, logits[row, : len(own)].argmax(-1))
            ]
            for row, own in enumerate(np.split(labels, split.offsets[1:-1]))
            for keep in [own >= 0]
        ]
        return {"f1": entity_f1([own for own, _ in tags], [other for _, other in tags])}
    examples = read_examples(task)["validation"]
    scores = [
        score_answer(
            best_text(split, row, [side[row] for side in logits], examples.inputs[row][1]),
            [text for text, _ in examples.labels[row]],
        )
        for row in range(len(split))
    ]
    exact, f1 = np.mean(scores, axis=0)
    has_answer = [bool(labels) for labels in examples.labels]
    answered = np.mean([f1 for (_, f1), has in zip(scores, has_answer, strict=True) if has])
    return {"exact_match": exact, "f1": f1, "has_answer_f1": answered}


def best_text(split: Split, row: int, logits: list[np.ndarray], context: str) -> str:
    """The answer of a context of one window, by trying all spans."""
    characters = split.extras["token_characters"][split.offsets[row] : split.offsets[row + 1]]
    spans = [
        (float(logits[0][first]) + float(logits[1][last]), first, last)
        for first in range(len(characters))
        for last in range(first, min(first + 30, len(characters)))
        if characters[first, 0] >= 0 and characters[last, 0] >= 0
    ]
    score, first, last = max(spans)
    if float(logits[0][0]) + float(logits[1][0]) > score:
        return ""
    return context[characters[first, 0] : characters[last, 1]]


@pytest.mark.parametrize("kind", ROWS)
def test_losses_and_scores_are_those_of_a_script_with_trainer(tmp_path: Path, kind: str) -> None:
    task = make_task(tmp_path, kind)
    prepared = prepare_task(task)
    losses, batches = run_trial(prepared)
    trainer_losses, model, logits = run_trainer(prepared, batches, tmp_path)
    assert losses == pytest.approx(trainer_losses, abs=1e-4)
    scores, values = evaluate(prepared, model)
    if kind == "regression":  # correlations of nearly equal numbers magnify rounding errors
        assert values == pytest.approx(logits, abs=1e-4)
        logits = values
    expected = expected_scores(kind, prepared, logits, task)
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-5)
