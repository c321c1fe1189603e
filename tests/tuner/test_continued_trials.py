"""A trial that is run again continues at the checkpoint of the run before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotune.domain import (
    PAUSED_AT_STEP,
    Budget,
    Confirmation,
    CurvePoint,
    Failed,
    FailureReason,
    Infeasible,
    Interrupted,
    Job,
    Outcome,
    Pruned,
    State,
    Study,
    Task,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.store import SqlStore
from autotune.trial import checkpoints, evaluate, profiling, training
from autotune.trial.job_files import CHECKPOINTS
from autotune.tuner.failures import earlier_runs
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner
from tests.tuner.small_study import (
    HOST,
    InlineExecutor,
    RecordingObserver,
    finished_trial,
    formula,
)

CHECKPOINT = "checkpoint-8-rank0.safetensors"


class DriverKilled(BaseException):
    """The end of a driver: nothing after it runs."""


def search(study: Study, store: SqlStore, folder: Path, function: Any) -> list[Trial]:
    """One session of a search, after that of a driver that is dead."""
    if study.name not in store.studies():
        store.create_study(study, {})
    store.interrupt_running(study.name)
    sampler, observer = make_sampler(study), RecordingObserver()
    executor = InlineExecutor()
    make_tuner(
        study, store, sampler, executor, HOST, directory=folder, observer=observer
    ).run(function)  # fmt: skip
    return [store.trial(study.name, trial.number) for trial in store.trials(study.name)]


def lose(failure: Outcome) -> Any:
    """An evaluation that writes a checkpoint and ends with ``failure``."""

    def write_checkpoint(job: Job, report: Any) -> Outcome:
        (Path(job.directory) / CHECKPOINT).write_bytes(b"x")
        return failure

    return write_checkpoint


def record_jobs(jobs: list[Job]) -> Any:
    def record(job: Job, report: Any) -> Outcome:
        jobs.append(job)
        return formula(job, report)

    return record


def test_a_search_that_was_killed_loses_only_the_steps_since_the_rung(
    study: Study, store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real training run with dropout: the losses and scores are those of one that was not
    killed."""
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(training, "WINDOW_SECONDS", 0.0)
    monkeypatch.setattr(profiling, "MAX_PROFILES", 1)  # on a busy machine too
    monkeypatch.setattr(checkpoints, "MAX_WRITE_SHARE", float("inf"))
    files = write_data(tmp_path)
    task = Task(model="builtin:bert-tiny", dataset=files, steps=16, max_length=16)
    study = replace(study, task=task, budget=Budget(trials=1))

    def die_after_step_9(job: Job, report: Any) -> Outcome:
        def report_or_die(point: CurvePoint) -> Any:
            if point.step > 9:
                raise DriverKilled
            return report(point)

        return evaluate(job, report_or_die)

    with pytest.raises(DriverKilled):
        search(study, store, tmp_path, die_after_step_9)
    interrupted, continued = search(study, store, tmp_path, evaluate)
    (complete,) = search(replace(study, name="uninterrupted"), store, tmp_path, evaluate)
    assert (interrupted.state, continued.state) == (State.INTERRUPTED, State.COMPLETE)
    (event,) = [event for event in continued.result.events if event.kind == "continued"]
    assert event.message.startswith("at step 8 of 16, from the checkpoint of trial 0: ")
    assert losses(continued) == losses(complete)
    assert scores(continued) == scores(complete)
    assert not list(tmp_path.glob(f"**/{CHECKPOINTS}"))


def write_data(folder: Path) -> dict[str, str]:
    """Files with 24 sentences each, by split."""
    lines = [json.dumps({"text": f"number {n} is {n * n}", "label": n % 2}) for n in range(24)]
    files = {split: folder / f"{split}.jsonl" for split in ("train", "validation", "test")}
    for path in files.values():
        path.write_text("\n".join(lines))
    return {split: str(path) for split, path in files.items()}


def losses(trial: Trial) -> dict[int, float | None]:
    return {point.step: point.loss for point in trial.result.curve if point.loss is not None}


def scores(trial: Trial) -> list[float | None]:
    return [trial.metric(name) for name in ("accuracy", "loss", "train_samples")]


@pytest.mark.parametrize(
    "failure",
    [
        Interrupted("the search's budget ended"),
        Failed(FailureReason.INFRASTRUCTURE, "the node is away"),
    ],
)
def test_a_lost_trial_continues_in_the_folder_of_the_one_before(
    failure: Outcome, study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = replace(study, budget=Budget(trials=2))
    store.create_study(study, {})
    store.start(study.name, study.baseline, origin=TrialOrigin.DEFAULT, seed=0)
    store.finish(study.name, 0, failure)
    folder = tmp_path / study.name / "0000"
    folder.mkdir(parents=True)
    (folder / CHECKPOINT).write_bytes(b"x")
    jobs: list[Job] = []
    search(study, store, tmp_path, record_jobs(jobs))
    assert jobs[0].continues == (str(folder),)
    assert all(job.continues == () for job in jobs[1:])


def test_checkpoints_of_a_trial_that_ended_are_deleted(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = replace(study, budget=Budget(trials=1))
    outcome = Infeasible(FailureReason.TIMEOUT, "still running")
    search(study, store, tmp_path, lose(outcome))
    assert not list(tmp_path.glob(f"**/{CHECKPOINTS}"))


def test_checkpoints_of_an_interrupted_trial_are_kept(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    study = replace(study, budget=Budget(trials=1))
    executor_ends = lose(Interrupted("stopped on request"))

    def stop_search(job: Job, report: Any) -> Outcome:
        outcome: Outcome = executor_ends(job, report)
        tuner.stop("interrupted")
        return outcome

    store.create_study(study, {})
    tuner = make_tuner(
        study, store, make_sampler(study), InlineExecutor(), HOST, directory=tmp_path,
        observer=RecordingObserver(),
    )  # fmt: skip
    tuner.run(stop_search)
    assert [path.name for path in tmp_path.glob(f"**/{CHECKPOINTS}")] == [CHECKPOINT]


def test_checkpoints_of_paused_trials_are_deleted_when_finalists_are_confirmed(
    study: Study, store: SqlStore, tmp_path: Path
) -> None:
    """They are not continued any more."""
    pause = lose(Pruned("paused", TrialResult(environment={PAUSED_AT_STEP: 8})))
    checkpoints: list[int] = []

    def pause_second(job: Job, report: Any) -> Outcome:
        checkpoints.append(len(list(tmp_path.glob(f"**/{CHECKPOINTS}"))))
        outcome: Outcome = pause(job, report) if job.trial == 1 else formula(job, report)
        return outcome

    study = replace(study, budget=Budget(trials=9), confirm=Confirmation(1, 1), constraints=())
    search(study, store, tmp_path, pause_second)
    assert checkpoints[2] == 1 and checkpoints[-2:] == [1, 0]
    assert not list(tmp_path.glob(f"**/{CHECKPOINTS}"))


def test_only_runs_of_the_same_training_are_continued(study: Study) -> None:
    interrupted = finished_trial(0, study.baseline, state=State.INTERRUPTED)
    history = [
        interrupted,
        replace(interrupted, number=1, seed=1),
        replace(interrupted, number=2, strategy=study.baseline.with_values(batch_size=32)),
        replace(interrupted, number=3, origin=TrialOrigin.CONFIRMATION),
        replace(interrupted, number=4, state=State.COMPLETE),
        replace(interrupted, number=5, origin=TrialOrigin.RETRY),
    ]
    retry = replace(interrupted, number=6, state=State.RUNNING, origin=TrialOrigin.RETRY)
    assert [trial.number for trial in earlier_runs(retry, [*history, retry])] == [5, 0]
    confirmation = replace(retry, origin=TrialOrigin.CONFIRMATION)
    assert [trial.number for trial in earlier_runs(confirmation, history)] == [3]
    isolated = replace(retry, origin=TrialOrigin.ISOLATED_RERUN)
    assert earlier_runs(isolated, history) == []
