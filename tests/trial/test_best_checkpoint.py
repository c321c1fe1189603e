"""With ``task.evaluate_every``, the weights of the best evaluation count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from data_files import rows, write_jsonl
from trial_cases import make_job, make_state

from autotune.domain import BEST_STEP, Completed, CurvePoint, Job, Outcome, TrialResult
from autotune.errors import ExecutionError
from autotune.trial import checkpoints, profiling, run, training
from autotune.trial.best_checkpoint import BestCheckpoint, BestEvaluation
from autotune.trial.job_files import CHECKPOINTS

STEPS, INTERVAL = 16, 5
EVALUATIONS = [5, 10, 15, 16]
SETTINGS = {"steps": STEPS, "evaluate_every": INTERVAL, "best_metric": "loss"}


class Killed(BaseException):
    """The end of a worker: nothing after it runs."""


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is a window, and a checkpoint is written at every point with scores."""
    monkeypatch.setattr(training, "WINDOW_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "MAX_WRITE_SHARE", float("inf"))
    monkeypatch.setattr(profiling, "REFERENCE_CALLS", 1)
    monkeypatch.setattr(profiling, "MAX_PROFILES", 1)  # on a busy machine too
    monkeypatch.setattr("autotune.trial.evaluation.LATENCY_CALLS", 10)


def make(folder: Path, number: int = 0, **changes: Any) -> Job:
    """A trial that diverges: with this learning rate, the first evaluation is not the worst."""
    job = make_job(folder, settings=SETTINGS, batch_size=4, learning_rate=0.05, dropout=0.2)
    write_jsonl(folder / "test.jsonl", rows(7))
    directory = str(folder / "runs" / f"{number:04d}")
    return replace(job, trial=number, directory=directory, **changes)


def run_until(job: Job, step: int = STEPS) -> Outcome | None:
    """Run the trial, killed after it has reported ``step``."""

    def report(point: CurvePoint) -> None:
        if point.step > step:
            raise Killed

    try:
        return run.run_trial(job, report)
    except Killed:
        return None


def result(outcome: Outcome | None) -> TrialResult:
    assert isinstance(outcome, Completed)
    return outcome.result


def losses(trial: TrialResult) -> dict[int, float]:
    """The loss on the validation split by the step of the evaluation."""
    points = {point.step: point.metrics for point in trial.curve if "loss" in point.metrics}
    return {step: points[step]["loss"] for step in EVALUATIONS}


def test_the_weights_of_the_best_evaluation_count(tmp_path: Path) -> None:
    trial = result(run_until(make(tmp_path)))
    evaluated = losses(trial)
    best = min(evaluated, key=lambda step: evaluated[step])
    assert best != STEPS, "the last weights are not the best"
    assert trial.environment[BEST_STEP] == best
    assert trial.measurements["loss"].value == pytest.approx(evaluated[best], rel=1e-5)
    assert trial.curve[-1].step == STEPS
    assert not list((tmp_path / "runs").glob(f"*/{CHECKPOINTS}")), "no file is left"


def test_a_killed_run_continues_with_its_best_evaluation(tmp_path: Path) -> None:
    uninterrupted = result(run_until(make(tmp_path, 0)))
    killed = make(tmp_path, 1)
    assert run_until(killed, 11) is None
    retried = make(tmp_path, 2, continues=(killed.directory,))
    continued = result(run_until(retried))
    assert any(event.kind == "continued" for event in continued.events)
    assert losses(continued) == losses(uninterrupted)
    assert continued.environment[BEST_STEP] == uninterrupted.environment[BEST_STEP]
    assert continued.measurements["loss"].value == uninterrupted.measurements["loss"].value
    assert not list((tmp_path / "runs").glob(f"*/{CHECKPOINTS}"))


def test_a_checkpoint_without_the_best_weights_is_not_used(tmp_path: Path) -> None:
    killed = make(tmp_path, 1)
    assert run_until(killed, 11) is None
    for path in Path(killed.directory).glob("checkpoint-best-*"):
        path.unlink()
    trial = result(run_until(make(tmp_path, 2, continues=(killed.directory,))))
    assert not any(event.kind == "continued" for event in trial.events)
    assert len(losses(trial)) == len(EVALUATIONS)


def test_a_confirmation_chooses_its_weights_without_the_test_split(tmp_path: Path) -> None:
    search = result(run_until(make(tmp_path, 0)))
    confirmation = result(run_until(make(tmp_path, 1, on_test_split=True)))
    assert losses(confirmation) == losses(search)
    assert confirmation.environment[BEST_STEP] == search.environment[BEST_STEP]
    assert confirmation.measurements["loss"].value != search.measurements["loss"].value


def test_best_is_the_first_of_equal_scores_in_the_direction_of_the_metric(tmp_path: Path) -> None:
    model = make_state().model
    for metric, scores, best in (("loss", [2, 1, 1, 3], 1), ("accuracy", [0.1, 0.5, 0.5, 0.4], 1)):
        checkpoint = BestCheckpoint(tmp_path, metric)
        for step, score in enumerate(scores):
            with torch.no_grad():
                next(model.parameters()).fill_(step)
            checkpoint.offer(model, step, {metric: score})
        assert checkpoint.restore(model) == BestEvaluation(best, scores[best])
        assert next(model.parameters()).eq(best).all()
        assert len(list(tmp_path.iterdir())) == 1, "the weights before are removed"


def test_missing_weights_are_an_error_with_their_path(tmp_path: Path) -> None:
    model = make_state().model
    checkpoint = BestCheckpoint(tmp_path, "loss")
    checkpoint.offer(model, 3, {"loss": 1.0})
    next(tmp_path.iterdir()).unlink()
    with pytest.raises(ExecutionError, match="checkpoint-best-3"):
        checkpoint.restore(model)
