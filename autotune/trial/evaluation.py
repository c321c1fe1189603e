"""The fine-tuned model at work: its predictions, and how fast it makes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autotune.measure.clock import Window, now
from autotune.trial.data.batching import Collator, Indices, chunks
from autotune.trial.distributed.process_group import TrainState
from autotune.trial.tasks.base import IGNORED

BATCH = {"cpu": 32, "cuda": 256, "mps": 64}
"""Examples per batch of inference. The same for all strategies, so that they compare."""

WINDOW_SECONDS = 0.25
LATENCY_WARMUP = 5
LATENCY_CALLS = 60
LATENCY_SECONDS = 0.6


@dataclass(frozen=True)
class Predictions:
    """``classes`` (int64) and ``losses`` (nats) have the shape of the split's labels and stand in
    its order. ``windows`` were timed while predicting, in all processes together."""

    classes: np.ndarray
    losses: np.ndarray
    windows: list[Window]


def predict(ready: TrainState, collate: Collator) -> Predictions:
    """Predict all examples of the collator's split in batches of like length.

    The first batch runs once more beforehand, to warm up. Batches come in shuffled order, so that
    each window has its share of short and long ones. The processes of a crew share the batches, and
    each ends up with all answers.
    """
    labels = collate.split.labels
    classes, losses = np.zeros(labels.shape, np.int64), np.zeros(labels.shape, np.float32)
    batches = ready.crew.shard(_by_length(collate.split.lengths, BATCH[ready.device.type]))
    windows: list[Window] = []
    pending: list[tuple[Indices, Tensor, Tensor]] = []
    with running(ready):
        begun = now(ready.device)
        for batch in batches[:1]:
            _judge(ready, collate, batch)
            windows.append(Window(len(batch), now(ready.device) - begun, warmup=True))
        begun = now(ready.device)
        for place, batch in enumerate(batches):
            pending.append((batch, *_judge(ready, collate, batch)))
            seconds = now(ready.device) - begun
            if seconds < WINDOW_SECONDS and place < len(batches) - 1:
                continue
            windows.append(Window(sum(len(rows) for rows, _, _ in pending), seconds))
            for rows, best, loss in pending:
                collate.split.place(rows, best.numpy(force=True), classes)
                collate.split.place(rows, loss.numpy(force=True), losses)
            pending, begun = [], now(ready.device)
    crew = ready.crew
    return Predictions(crew.all_reduce(classes), crew.all_reduce(losses), crew.merge(windows))


def latencies(ready: TrainState, collate: Collator, seed: int) -> tuple[list[float], list[float]]:
    """Milliseconds to label one example, unpadded, at batch 1: (warm-up, steady)."""
    rows = np.random.default_rng(seed).permutation(len(collate.split))
    calls = np.resize(rows, LATENCY_WARMUP + LATENCY_CALLS)
    times: list[float] = []
    with running(ready):
        started = now(ready.device)
        for call in calls:
            begun = now(ready.device)
            _judge(ready, collate, np.array([call]))
            ended = now(ready.device)
            times.append((ended - begun) * 1e3)
            if ended - started > LATENCY_SECONDS and len(times) > 2 * LATENCY_WARMUP:
                break
    return times[:LATENCY_WARMUP], times[LATENCY_WARMUP:]


@contextmanager
def running(ready: TrainState) -> Iterator[None]:
    """The model in inference, its weights cast once for as long as this lasts."""
    ready.model.eval()
    with torch.inference_mode(), ready.precision.autocast():
        yield


def _judge(ready: TrainState, collate: Collator, rows: Indices) -> tuple[Tensor, Tensor]:
    """Best class and loss of each label, shaped like the labels of the batch."""
    batch = collate(rows)
    logits = ready.model(**batch.inputs).logits.float()
    flat, labels = logits.flatten(0, -2), batch.labels.flatten()
    loss = functional.cross_entropy(flat, labels, ignore_index=IGNORED, reduction="none")
    return logits.argmax(dim=-1), loss.view(batch.labels.shape)


def _by_length(lengths: np.ndarray, size: int) -> list[Indices]:
    batches = list(chunks(np.argsort(lengths, kind="stable"), size))
    return [batches[place] for place in np.random.default_rng(0).permutation(len(batches))]
