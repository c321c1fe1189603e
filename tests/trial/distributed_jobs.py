"""Parallel trials for workers of a forkserver: some that train, some that come to grief."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from autotune.domain import Completed, CurvePoint, Job, Outcome, TrialResult
from autotune.ports import Report
from autotune.trial import training
from autotune.trial.effects.devices import init_device, init_process_group
from autotune.trial.plan import schedule
from autotune.trial.recorder import TrialRecorder
from autotune.trial.setup import apply_strategy
from autotune.trial.training import step

PERTURBED = 0.3
"""How far weights are drawn from zero, so that whatever is computed wrongly shows."""


def follow(job: Job, report: Report) -> Outcome:
    """Train as the strategy says; every step's loss, and at the end the weights, come back."""
    device = init_device(job.strategy)
    crew = init_process_group(job.strategy, device)
    torch.manual_seed(job.seed)
    data = training.read_data(job, device, TrialRecorder(), crew)
    ready = apply_strategy(job.strategy, data.prepared, data.collate, job.seed, crew)
    plan = schedule(job.strategy, job.task, data.collate, job.seed)
    losses = []
    ready.model.train()
    batches = plan.batches()
    for _ in range(plan.steps):
        if ready.divided is not None:
            loss = ready.divided.step(ready, plan, next(batches), ready.peak_rate)
        else:
            parts = [plan.collate(rows) for rows in plan.parts(next(batches))]
            loss = step(ready, parts, ready.peak_rate)
        losses.append(crew.mean([loss], 1.0))
    whole = ready.unsharded()
    found, _ = training.evaluate(whole, data, data.validation)
    if crew.is_main_process:
        state = {name: t.clone().contiguous() for name, t in whole.model.state_dict().items()}
        save_file(state, Path(job.directory) / "weights.safetensors")
    scores = {m.name: m.value for m in found}
    crew.destroy()
    return Completed(TrialResult(environment={"losses": losses, "scores": scores}))


def come_to_grief(job: Job, report: Report) -> Outcome:
    """Meet the others, then let rank 1 do what ``job.study`` says while they wait for it."""
    device = init_device(job.strategy)
    crew = init_process_group(job.strategy, device)
    report(CurvePoint(1, 2, 1, 0.1))
    if os.environ["RANK"] == "1":
        match job.study:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raise":
                raise ValueError("rank 1 has had enough")
            case "run_out":
                torch.empty(2**50, dtype=torch.int8)
            case "hang":
                time.sleep(600)
            case "swell":
                kept = []
                while True:
                    kept.append(torch.ones(2**22))
                    time.sleep(0.01)
    crew.destroy()
    return Completed(TrialResult())
