"""Distributed trials for workers of a forkserver: some train, some fail."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from autotune.domain import Completed, CurvePoint, Job, Outcome, TrialResult
from autotune.ports import Report
from autotune.trial import checkpoints, profiling, training
from autotune.trial.devices import init_device, init_process_group
from autotune.trial.plan import plan_training
from autotune.trial.run import run_trial
from autotune.trial.training import init_train_state, train_step
from autotune.trial.training_run import evaluate_split
from autotune.trial.trial_data import read_data


def train_and_return_losses(job: Job, report: Report) -> Outcome:
    """Train under the job's strategy. Returns the loss of every step and the scores; writes the
    weights."""
    device = init_device(job.strategy)
    group = init_process_group(job.strategy, device)
    torch.manual_seed(job.seed)
    data = read_data(job, device, lambda note: None, group)
    state = init_train_state(job.strategy, data.prepared, data.collate, job.seed, group)
    plan = plan_training(job.strategy, job.task, data.collate, job.seed)
    losses = []
    state.model.train()
    batches = plan.batches()
    for _ in range(plan.steps):
        rows = next(batches)
        if state.distributed is not None:
            loss = state.distributed.step(state, plan, rows, state.peak_learning_rate)
        else:
            micro_batches = [plan.collate(part) for part in plan.micro_batches(rows)]
            loss = train_step(state, micro_batches, state.peak_learning_rate)
        losses.append(group.mean_loss([loss], 1.0))
    unsharded = state.unsharded()
    measurements, _ = evaluate_split(unsharded, data, data.evaluation)
    if group.is_main_process:
        weights = unsharded.model.state_dict().items()
        copies = {name: tensor.clone().contiguous() for name, tensor in weights}
        save_file(copies, Path(job.directory) / "weights.safetensors")
    scores = {m.name: m.value for m in measurements}
    group.destroy()
    return Completed(TrialResult(environment={"losses": losses, "scores": scores}))


def fail_on_rank_1(job: Job, report: Report) -> Outcome:
    """Connect the ranks, then let rank 1 fail as ``job.study`` says while rank 0 waits for it."""
    device = init_device(job.strategy)
    group = init_process_group(job.strategy, device)
    report(CurvePoint(1, 2, 1, 0.1))
    if os.environ["RANK"] == "1":
        match job.study:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raise":
                raise ValueError("rank 1 has failed")
            case "run_out":
                torch.empty(2**50, dtype=torch.int8)
            case "hang":
                time.sleep(600)
            case "grow":
                tensors = []
                while True:
                    tensors.append(torch.ones(2**22))
                    time.sleep(0.01)
    group.destroy()
    return Completed(TrialResult())


def train_with_checkpoints(job: Job, report: Report) -> Outcome:
    """A trial that reports every step and writes a checkpoint at every rung. Its folder is copied
    to ``copy`` beside it in the step after the first rung."""
    checkpoints.MAX_WRITE_SHARE = float("inf")
    training.WINDOW_SECONDS = 0.0
    profiling.MAX_PROFILES = 1  # on a busy machine too
    copied = Path(job.directory).parent / "copy"
    rung = int(job.task.evaluate_every or 0)
    is_rank_0 = os.environ["RANK"] == "0"

    def report_and_copy(point: CurvePoint) -> None:
        # The other ranks take part in this step: they have written their parts, and write nothing
        # until rank 0 goes on.
        if is_rank_0 and point.step > rung and not copied.exists():
            shutil.copytree(job.directory, copied)
        report(point)

    return run_trial(job, report_and_copy)
