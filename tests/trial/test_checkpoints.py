"""A training run that continues at a checkpoint has the figures of one without interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from trial_cases import make_job, make_state

from autotune.domain import (
    PHASES,
    Completed,
    CurvePoint,
    Job,
    Limits,
    Outcome,
    PauseReason,
    Phase,
    Pruned,
    TrialResult,
)
from autotune.domain.metrics import METRICS
from autotune.trial import checkpoints, profiling, run, training
from autotune.trial.checkpoint_file import CheckpointFile, read_checkpoint, write_checkpoint
from autotune.trial.checkpoints import Checkpoints, RunRecord
from autotune.trial.job_files import CHECKPOINTS
from autotune.trial.recorder import TrialRecorder
from autotune.trial.state import TrainState

STEPS = 16


class Killed(BaseException):
    """The end of a worker: nothing after it runs."""


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is a window, so that the curve has the loss of every step, and every rung has a
    checkpoint."""
    monkeypatch.setattr(training, "WINDOW_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "MAX_WRITE_SHARE", float("inf"))
    monkeypatch.setattr(profiling, "REFERENCE_CALLS", 1)
    monkeypatch.setattr(profiling, "MAX_PROFILES", 1)  # on a busy machine too
    monkeypatch.setattr("autotune.trial.evaluation.LATENCY_CALLS", 10)


def make(folder: Path, number: int = 0, **values: Any) -> Job:
    """A trial with dropout, in a folder of its own, on data in ``folder``."""
    job = make_job(folder, settings={"steps": STEPS}, batch_size=4, dropout=0.2, **values)
    return replace(job, trial=number, directory=str(folder / "runs" / f"{number:04d}"))


def run_until(job: Job, step: int | None) -> tuple[Outcome | None, list[CurvePoint]]:
    """Run the trial, killed after it has reported ``step``."""
    points: list[CurvePoint] = []

    def report(point: CurvePoint) -> None:
        points.append(point)
        if step is not None and point.step > step:
            raise Killed

    try:
        return run.run_trial(job, report), points
    except Killed:
        return None, points


def figures(outcome: Outcome | None) -> tuple[dict[int, float], dict[str, float]]:
    """The loss of every step, and everything that the evaluation measured."""
    assert isinstance(outcome, Completed)
    losses = {point.step: point.loss for point in outcome.result.curve if point.loss is not None}
    measurements = outcome.result.measurements
    return losses, {n: m.value for n, m in measurements.items() if METRICS[n].phase is Phase.TRAIN}


def restarts(outcome: Outcome | None) -> list[str]:
    """Where the run was continued, without the times."""
    assert outcome is not None
    events = outcome.result.events
    return [e.message.partition(":")[0] for e in events if e.kind == "continued"]


# fmt: off
STRATEGIES: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "loader_workers": 2},
    "adafactor": {"optimizer": "adafactor", "freeze_layers": 1},
    "sgd with masks": {"optimizer": "sgd", "pruning_ratio": 0.5, "pruning_method": "unstructured"},
    "structured bf16": {
        "optimizer": "adamw-fused", "padding": "bucketed", "precision": "bf16-pure",
        "pruning_ratio": 0.5, "pruning_method": "structured",
    },
    "host optimizer": {"optimizer": "adamw", "offload": "optimizer"},
    "ranks": {"adapter": "adalora", "adapter_rank": 2},
}
# fmt: on


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_killed_run_continues_to_the_same_figures(name: str, tmp_path: Path) -> None:
    strategy = STRATEGIES[name]
    uninterrupted, _ = run_until(make(tmp_path, 0, **strategy), None)
    killed_job = make(tmp_path, 1, **strategy)
    assert run_until(killed_job, STEPS // 2)[0] is None
    torch.rand(7)  # another process has other random states
    retried = replace(make(tmp_path, 2, **strategy), continues=(killed_job.directory,))
    continued, points = run_until(retried, None)
    assert len(figures(uninterrupted)[0]) == STEPS
    assert figures(continued) == figures(uninterrupted)
    assert restarts(continued) == ["at step 8 of 16, from the checkpoint of trial 1"]
    # The search gets the complete curve of the new trial.
    assert sorted({point.step for point in points}) == list(range(1, STEPS + 1))
    assert isinstance(continued, Completed)
    assert continued.result.curve == tuple(points)
    assert not list((tmp_path / "runs").glob(f"*/{CHECKPOINTS}")), "no file is left"


def test_a_run_that_is_killed_twice_counts_its_time_once(tmp_path: Path) -> None:
    """The second run is killed before it has written a checkpoint of its own."""
    first, second = make(tmp_path, 1), make(tmp_path, 2)
    run_until(first, 8)
    second = replace(second, continues=(first.directory,))
    _, points = run_until(second, 5)
    before = [point for point in points if point.step <= 5]
    assert before
    third = replace(make(tmp_path, 3), continues=(second.directory, first.directory))
    outcome, _ = run_until(third, None)
    assert restarts(outcome) == ["at step 8 of 16, from the checkpoint of trial 1"]
    assert isinstance(outcome, Completed)
    curve, measurements = outcome.result.curve, outcome.result.measurements
    assert curve[: len(before)] == tuple(before)
    seconds = [point.seconds for point in curve]
    assert seconds == sorted(seconds)
    assert measurements["train_seconds"].value >= seconds[-1]
    assert measurements["train_samples"].value == 4 * STEPS


def writer(folder: Path, **limits: Any) -> tuple[Checkpoints, TrialRecorder, TrainState]:
    """The checkpoints of a tiny model without a trial around it."""
    state, recorder = make_state(), TrialRecorder()
    job = replace(make_job(folder), directory=str(folder / "runs/0001"), phases=(Phase.TRAIN,))
    job = replace(job, limits=Limits(**limits))
    return Checkpoints(job, state, recorder, "data"), recorder, state


RECORD = RunRecord(
    trial=1, step=3, examples=12, setup_seconds=0.5, windows=(), restart_overhead=0.0,
    reference_seconds=(), reference_warmup=(), reference_at=0.0, joules=0.0, result=TrialResult(),
)  # fmt: skip


def test_a_checkpoint_restores_the_weights(tmp_path: Path) -> None:
    written, _, state = writer(tmp_path)
    with torch.no_grad():
        next(iter(state.model.parameters())).fill_(0.25)
    assert written.write(RECORD)
    restored, _, other = writer(tmp_path)
    assert restored.restore() == RECORD
    pairs = zip(state.model.parameters(), other.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_damaged_checkpoint_is_not_used_but_the_one_before_is(tmp_path: Path) -> None:
    written, _, _ = writer(tmp_path)
    assert written.write(RECORD)
    (path,) = (tmp_path / "runs/0001").glob(CHECKPOINTS)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.with_name("checkpoint-9-rank0.safetensors").write_bytes(content)
    path.with_name("checkpoint-8-rank0.safetensors").write_bytes(content[:-10])
    path.with_name("checkpoint-7-rank0.safetensors").write_bytes(b"")
    path.with_name("checkpoint-x-rank0.safetensors").write_bytes(b"")
    restored, _, _ = writer(tmp_path)
    assert restored.restore() == RECORD


def test_a_checkpoint_of_another_training_run_is_not_used(tmp_path: Path) -> None:
    written, recorder, state = writer(tmp_path)
    assert written.write(RECORD)
    job = replace(make_job(tmp_path), directory=str(tmp_path / "runs/0001"), phases=(Phase.TRAIN,))
    same = Checkpoints(job, state, recorder, "data")
    others = [
        Checkpoints(replace(job, seed=1), state, recorder, "data"),
        Checkpoints(replace(job, on_test_split=True), state, recorder, "data"),
        Checkpoints(job, state, recorder, "other data"),
        Checkpoints(job, make_state("distilbert"), recorder, "data"),
        Checkpoints(replace(job, phases=PHASES), state, recorder, "data"),
    ]
    assert [other.restore() for other in others] == [None] * len(others)
    assert same.restore() == RECORD


def test_only_the_latest_checkpoint_is_kept(tmp_path: Path) -> None:
    written, _, _ = writer(tmp_path)
    partial = tmp_path / "runs/0001/checkpoint-1-rank0.safetensors.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"half")
    assert written.write(RECORD)
    assert written.write(replace(RECORD, step=6))
    names = [path.name for path in (tmp_path / "runs/0001").glob(CHECKPOINTS)]
    assert names == ["checkpoint-6-rank0.safetensors"]


def test_the_disk_space_of_checkpoints_is_limited(tmp_path: Path) -> None:
    first, _, _ = writer(tmp_path)
    assert first.write(RECORD)
    (path,) = (tmp_path / "runs/0001").glob(CHECKPOINTS)
    moved = tmp_path / "runs/0000" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    limited, recorder, _ = writer(tmp_path, checkpoint_gib=1.5 * moved.stat().st_size / 2**30)
    assert limited.is_due(1.0)
    assert not limited.write(RECORD)
    assert "limits.checkpoint_gib" in recorder.events[-1].message
    assert not limited.is_due(1e9), "it is not tried again"
    switched_off, recorder, _ = writer(tmp_path, checkpoint_gib=0)
    assert not switched_off.is_due(1e9)


def test_a_full_disk_ends_checkpoints_but_not_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "MIN_FREE_GIB", 1e9)
    outcome, _ = run_until(make(tmp_path), None)
    assert isinstance(outcome, Completed)
    notes = [event.message for event in outcome.result.events if event.kind == "checkpoint"]
    assert notes == ["not written: less than 1e+09 GiB of the disk would be left free"]


def test_a_short_training_run_writes_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "MAX_WRITE_SHARE", 0.05)
    written, _, state = writer(tmp_path)
    size = sum(weight.nbytes for weight in state.model.parameters())
    seconds = 3 * size / checkpoints.ASSUMED_BYTES_PER_SECOND / 0.05
    assert not written.is_due(0.99 * seconds)
    assert written.is_due(1.01 * seconds)


def test_a_checkpoint_file_has_no_code(tmp_path: Path) -> None:
    content = CheckpointFile({"a.b": torch.arange(3), "scalar": torch.tensor(2.5)}, {"x": [1, "y"]})
    path = tmp_path / "checkpoint-1-rank0.safetensors"
    write_checkpoint(path, content)
    assert load_file(path)["a.b"].tolist() == [0, 1, 2]
    again = read_checkpoint(path)
    assert again is not None
    assert again.document == content.document
    assert torch.equal(again.tensors["scalar"], content.tensors["scalar"])
    assert read_checkpoint(tmp_path / "missing.safetensors") is None


def test_a_paused_run_continues_to_the_same_figures(tmp_path: Path) -> None:
    uninterrupted, _ = run_until(make(tmp_path, 0), None)

    def pause_at_step_8(point: CurvePoint) -> str | None:
        return PauseReason("paused at step 8") if point.step == 8 and point.metrics else None

    paused_job = make(tmp_path, 1)
    paused = run.run_trial(paused_job, pause_at_step_8)
    assert isinstance(paused, Pruned)
    assert paused.reason == "paused at step 8"
    assert paused.result.environment["paused_at_step"] == 8
    assert "train_samples_per_second" in paused.result.measurements
    continued_job = replace(make(tmp_path, 2), continues=(paused_job.directory,))
    continued = run.run_trial(continued_job, lambda _: PauseReason("again") if _.step < 9 else None)
    assert restarts(continued) == ["at step 8 of 16, from the checkpoint of trial 1"]
    assert figures(continued) == figures(uninterrupted)
    assert not list((tmp_path / "runs").glob(f"*/{CHECKPOINTS}"))


def test_a_run_that_cannot_write_a_checkpoint_is_not_paused(tmp_path: Path) -> None:
    job = replace(make(tmp_path), limits=Limits(checkpoint_gib=0))
    outcome = run.run_trial(job, lambda _: PauseReason("paused"))
    assert isinstance(outcome, Completed)
