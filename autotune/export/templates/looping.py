"""A training loop in plain torch, for one process or one of several that share each batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from autotune.export.templates.building import Built
from autotune.export.templates.feeding import labels_of, summed_loss
from autotune.export.templates.folder import Folder
from autotune.export.templates.recording import Recorder
from autotune.trial import optimizers
from autotune.trial.batching import Batch, Collator, Indices, cut
from autotune.trial.schedule import linear_decay, schedule

Run = Callable[..., Any]
"""What training calls: the model, or what wraps it."""


def runnable(folder: Folder, built: Built) -> Run:
    """The model, compiled where the strategy says so: into one graph for all lengths, unless they
    are all alike."""
    if not folder.strategy["compile"]:
        return built.model
    compiled: Run = torch.compile(built.model, dynamic=folder.strategy["padding"] != "fixed")
    return compiled


def fine_tune(
    folder: Folder,
    built: Built,
    run: Run,
    collate: Collator,
    recorder: Recorder,
    rank: int = 0,
    ranks: int = 1,
) -> None:
    """Train for all steps. ``ranks`` processes each take their share of every global batch."""
    strategy = folder.strategy
    plan = schedule(strategy, folder.task, collate, folder.seed)
    rate = optimizers.peak_rate(strategy)
    optimizer = optimizers.build(str(strategy["optimizer"]), built.model, rate)
    micro = -(-plan.batch_size // ranks)
    if strategy["micro_batch_size"] != "full":
        micro = plan.micro_batch_size
    batches = plan.batches()
    built.model.train()
    recorder.start(plan.steps)
    for step in range(plan.steps):
        rows = next(batches)
        own, weight = share(rows, rank, ranks)
        weight /= labels_of(collate.split, rows)
        parts = [collate(piece) for piece in cut(own, micro)]
        for place, part in enumerate(parts):
            with synchronised(run, place == len(parts) - 1):
                backward(built, run, part, weight)
        optimizers.update(optimizer, built.precision, linear_decay(rate, step, plan.steps))
        if built.masks is not None:
            built.masks.apply()
        recorder.step(len(rows))


def share(rows: Indices, rank: int, ranks: int) -> tuple[Indices, float]:
    """This process's rows of a global batch, and what to multiply their loss by, as gradients are
    averaged over processes. Where there are too few rows to share, each process takes them all."""
    if len(rows) < ranks:
        return rows, 1.0
    return rows[rank::ranks], float(ranks)


def backward(built: Built, run: Run, part: Batch, weight: float) -> None:
    """Add the gradients of a micro-batch, whose summed loss counts ``weight`` times."""
    with built.precision.autocast():
        logits = run(**part.inputs).logits
    loss = summed_loss(logits, part.labels) * weight
    scaler = built.precision.scaler
    (loss if scaler is None else scaler.scale(loss)).backward()


def synchronised(run: Run, last: bool) -> AbstractContextManager[Any]:
    """Processes exchange gradients once a step, after the last micro-batch."""
    if isinstance(run, DistributedDataParallel) and not last:
        return run.no_sync()
    return nullcontext()
