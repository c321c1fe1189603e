"""Levers ``distillation`` and ``distillation_temperature``: the loss, and the teacher's logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch.nn import functional
from trial_cases import CPU, CROSS_ENTROPY, make_job, make_split

from autotune.domain import (
    Completed,
    CurvePoint,
    Infeasible,
    Job,
    Phase,
    SavedModel,
    Teacher,
    TrialResult,
)
from autotune.domain.tasks import TASK_KINDS
from autotune.errors import ModelError
from autotune.trial import run
from autotune.trial.data.batching import Collator
from autotune.trial.effects.distillation import Distillation
from autotune.trial.loss import Loss, binary_cross_entropy, cross_entropy, squared_error
from autotune.trial.teacher import require_teacher

TEMPERATURE = 3.0


def ignore(point: CurvePoint) -> None:
    pass


def logits(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def divergence(kind: str, own: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return Distillation(0.5, TEMPERATURE).divergence(TASK_KINDS[kind], own, teacher)


def test_the_divergence_of_classes_has_the_gradient_of_soft_labels() -> None:
    own, teacher = logits(4, 3, seed=1).requires_grad_(), logits(4, 3, seed=2)
    soft = (teacher / TEMPERATURE).softmax(dim=-1)
    expected = TEMPERATURE**2 * functional.cross_entropy(own / TEMPERATURE, soft, reduction="none")
    gradients = [
        torch.autograd.grad(losses.sum(), own)[0]
        for losses in (divergence("text-classification", own, teacher), expected)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("kind", "shape", "labels"),
    [
        ("text-classification", (4, 3), (4,)),
        ("token-classification", (4, 5, 3), (4, 5)),
        ("multi-label", (4, 3), (4, 3)),
        ("regression", (4, 1), (4,)),
    ],
)
def test_equal_logits_have_no_divergence(
    kind: str, shape: tuple[int, ...], labels: tuple[int, ...]
) -> None:
    own = logits(*shape, seed=1)
    assert divergence(kind, own, logits(*shape, seed=2)).shape == labels
    assert float(divergence(kind, own, logits(*shape, seed=2)).min()) > 0
    torch.testing.assert_close(divergence(kind, own, own), torch.zeros(labels))


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("text-classification", cross_entropy),
        ("multi-label", binary_cross_entropy),
        ("regression", squared_error),
    ],
)
def test_the_loss_is_weighted(kind: str, function: object) -> None:
    own, teacher = logits(4, 1, seed=1), logits(4, 1, seed=2)
    labels = torch.ones(4, 1) if kind == "multi-label" else torch.zeros(4)
    labels = labels.long() if kind == "text-classification" else labels
    plain = Loss(TASK_KINDS[kind], function)  # type: ignore[arg-type]
    mixed = replace(plain, distillation=Distillation(0.25, TEMPERATURE))
    from_teacher = divergence(kind, own, teacher).sum()
    expected = 0.75 * plain(own, labels) + 0.25 * from_teacher
    torch.testing.assert_close(mixed(own, labels, teacher), expected)
    assert mixed(own, labels) == plain(own, labels) == plain(own, labels, teacher)


def test_ignored_tokens_learn_nothing_from_the_teacher() -> None:
    loss = replace(
        CROSS_ENTROPY,
        kind=TASK_KINDS["token-classification"],
        distillation=Distillation(1.0, TEMPERATURE),
    )
    own, teacher = logits(1, 3, 3, seed=1), logits(1, 3, 3, seed=2)
    total = loss(own, torch.tensor([[0, -100, -100]]), teacher)
    torch.testing.assert_close(total, divergence("token-classification", own, teacher)[0, 0])


@pytest.mark.parametrize("by_token", [False, True])
def test_batches_have_the_logits_of_their_examples(by_token: bool) -> None:
    split = make_split(by_token=by_token)
    count = len(split.tokens) if by_token else len(split)
    teacher = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    batch = Collator(split, 0, CPU, teacher=teacher)(np.array([4, 1]))
    assert batch.teacher is not None
    if not by_token:
        assert batch.teacher.tolist() == teacher[[4, 1]].tolist()
        return
    assert batch.teacher.shape[:2] == batch.inputs["input_ids"].shape
    start, end = split.offsets[1], split.offsets[2]
    assert batch.teacher[1, : end - start].tolist() == teacher[start:end].tolist()
    assert not batch.teacher[1, end - start :].any()


def train(job: Job) -> TrialResult:
    outcome = run.run_trial(replace(job, phases=(Phase.TRAIN,)), ignore)
    assert isinstance(outcome, Completed), outcome
    return outcome.result


def train_teacher(job: Job, runs: Path) -> Teacher:
    """Trial 0 of ``job``, which keeps its model."""
    first = replace(job, directory=str(runs / "0000"), keeps_model=True)
    model = train(first).model
    assert model is not None
    return Teacher(0, job.task, model, first.directory)


def test_trials_share_the_logits_of_their_teacher(tmp_path: Path) -> None:
    job, runs = make_job(tmp_path, settings={"steps": 6}, dropout=0.2), tmp_path / "runs"
    teacher = train_teacher(job, runs)
    student = replace(
        job,
        teacher=teacher,
        strategy=job.strategy.with_values(distillation=1.0, distillation_temperature=4.0),
    )
    computed, read = (train(replace(student, directory=str(runs / n))) for n in ("0001", "0002"))
    (file,) = runs.glob("teacher-*.safetensors")
    assert load_file(file)["logits"].shape == (24, 2)
    assert [e.kind for e in computed.events].count("teacher") == 1
    assert "teacher" not in [event.kind for event in read.events]
    assert str(read.environment["teacher"]).startswith("trial 0, ")
    assert computed.curve[-1].loss == read.curve[-1].loss
    plain = train(replace(job, directory=str(runs / "0003")))
    assert plain.curve[-1].loss != read.curve[-1].loss
    assert "teacher" not in plain.environment


def test_each_length_of_texts_has_its_own_logits(tmp_path: Path) -> None:
    """The labels of the examples are the same, their tokens and windows are not."""
    job, runs = make_job(tmp_path, settings={"steps": 2}, dropout=0.2), tmp_path / "runs"
    teacher = train_teacher(job, runs)
    strategy = job.strategy.with_values(distillation=1.0)
    for number, length in enumerate((16, 6, 16), start=1):
        task = replace(job.task, max_length=length)
        own = replace(teacher, task=task)
        student = replace(job, task=task, teacher=own, strategy=strategy)
        train(replace(student, directory=str(runs / f"000{number}")))
    logits = [load_file(file)["logits"] for file in runs.glob("teacher-*.safetensors")]
    assert len(logits) == 2
    assert not np.allclose(*logits)


def test_without_a_teacher_the_strategy_cannot_run(tmp_path: Path) -> None:
    job = make_job(tmp_path, settings={"steps": 2}, distillation=0.5)
    outcome = run.run_trial(job, ignore)
    assert isinstance(outcome, Infeasible) and "no trial has it" in outcome.reason
    deleted = Teacher(3, job.task, SavedModel("0" * 64, 1), str(tmp_path / "0003"))
    outcome = run.run_trial(replace(job, teacher=deleted), ignore)
    assert isinstance(outcome, Infeasible)
    assert outcome.reason.endswith("0003/model is missing here or damaged")


def test_a_teacher_by_name_is_trained_for_the_labels(tmp_path: Path) -> None:
    job = make_job(tmp_path, settings={"steps": 2}, distillation=0.5)
    first = replace(
        job, directory=str(tmp_path / "runs/0000"), keeps_model=True,
        strategy=job.strategy.with_values(distillation=0.0),
    )  # fmt: skip
    train(first)
    named = replace(job.task, teacher=str(Path(first.directory) / "model"))
    require_teacher(named)
    result = train(replace(job, task=named, directory=str(tmp_path / "runs/0001")))
    assert str(result.environment["teacher"]).startswith(str(named.teacher))
    with pytest.raises(ModelError, match="was not trained for the labels"):
        require_teacher(replace(job.task, teacher="builtin:bert-tiny"))
