"""Inference with the fine-tuned model: predictions, scores, throughput and latency."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from autotune.domain import Correctness, Measurement
from autotune.domain.tasks import TASK_KINDS, TaskKind
from autotune.domain.training import evaluation_batch_size
from autotune.errors import NanLoss
from autotune.measure import memory, statistics
from autotune.measure.clock import Window, now
from autotune.measure.correctness import pack_correctness
from autotune.trial.data.batching import Collator, Indices, chunks
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.distributed.process_group import ProcessGroup
from autotune.trial.effects.precision import Precision
from autotune.trial.loss import Loss, output_logits
from autotune.trial.metrics import registered_scores
from autotune.trial.split import Split
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.base import is_evaluated
from autotune.trial.thresholds import apply_threshold

INFERENCE_WINDOW_SECONDS = 0.25
LATENCY_WARMUP_CALLS = 5
LATENCY_CALLS = 60
MAX_LATENCY_SECONDS = 0.6
"""Measuring latency ends after this many seconds, or :data:`LATENCY_CALLS`."""


@dataclass(frozen=True)
class Predictions:
    """``values`` are classes (int64) in the shape and order of the split's labels, or logits
    (float32) of each example or token, as the task kind decides. ``losses`` has the shape of the
    labels. ``windows`` were timed during prediction, over all processes. ``threshold`` is the one
    that :meth:`at_threshold` has applied."""

    values: np.ndarray
    losses: np.ndarray
    windows: list[Window]
    threshold: float | None = None

    def at_threshold(self, kind: str, split: Split, threshold: float | None) -> Predictions:
        """These predictions for ``split`` with ``threshold`` instead of the usual one."""
        values = apply_threshold(kind, split, self.values, threshold)
        return replace(self, values=values, threshold=threshold)


def predict(
    model: PreTrainedModel,
    precision: Precision,
    collate: Collator,
    group: ProcessGroup,
    loss: Loss,
) -> Predictions:
    """Predict all examples of the collator's split in batches of similar length.

    The first batch runs once more beforehand as a warm-up. Batches are shuffled, so that every
    window has short and long ones. The processes of ``group`` share the batches, and each returns
    all predictions.
    """
    split, device = collate.split, collate.device
    values = _empty_values(split, loss.kind, int(model.config.num_labels or 0))
    losses = np.zeros(split.labels.shape, np.float32)
    batch_size = evaluation_batch_size(device.type, int(split.lengths.max(initial=1)))
    batches = group.shard(_length_batches(split.lengths, batch_size))
    windows: list[Window] = []
    pending: list[tuple[Indices, Tensor, Tensor]] = []
    with inference(model, precision):
        start = now(device)
        for batch in batches[:1]:
            _forward(model, collate, batch, loss)
            windows.append(Window(len(batch), now(device) - start, warmup=True))
        start = now(device)
        for index, batch in enumerate(batches):
            pending.append((batch, *_forward(model, collate, batch, loss)))
            seconds = now(device) - start
            if seconds < INFERENCE_WINDOW_SECONDS and index < len(batches) - 1:
                continue
            windows.append(Window(sum(len(rows) for rows, _, _ in pending), seconds))
            for rows, batch_values, batch_losses in pending:
                by_token = loss.kind.logits_per_token
                split.scatter(rows, batch_values.numpy(force=True), values, by_token)
                split.scatter(rows, batch_losses.numpy(force=True), losses, split.labels_by_token)
            pending, start = [], now(device)
    return Predictions(
        group.all_reduce(values), group.all_reduce(losses), group.merge_windows(windows)
    )


def score(predictions: Predictions, split: Split, prepared: PreparedTask) -> list[Measurement]:
    """The task's scores and the mean loss of ``predictions`` for ``split``.

    Raises :class:`NanLoss` if a loss is not finite.
    """
    losses = predictions.losses[is_evaluated(split.labels)]
    if not np.isfinite(losses).all():
        raise NanLoss("the fine-tuned model's loss on validation examples is not finite")
    with memory.excluded_from_peak():  # it says nothing about the strategy
        scores = compute_scores(prepared.kind, split, predictions.values, prepared.label_names)
        value, ci95 = statistics.mean(losses.tolist())
    unit = TASK_KINDS[prepared.kind].loss_unit
    return [*scores.values(), Measurement("loss", value, unit, len(losses), ci95)]


def find_hits(predictions: Predictions, split: Split, kind: str) -> Correctness | None:
    """Which labels of ``split`` are predicted correctly; ``None`` for a ``kind`` of task whose
    predictions are not right or wrong."""
    with memory.excluded_from_peak():
        hits = get_task_type(kind).hits(split, predictions.values)
        if hits is None:
            return None
        if not split.labels_by_token:
            return pack_correctness(split.digest, hits)
        examples = np.repeat(np.arange(len(split)), split.lengths)[is_evaluated(split.labels)]
        starts = np.diff(examples, prepend=-1) != 0
        return pack_correctness(split.digest, hits, starts)


def compute_scores(
    kind: str, split: Split, values: np.ndarray, label_names: Sequence[str]
) -> dict[str, Measurement]:
    """The scores of a task kind and those of plug-in metrics, by name. The samples of a score are
    the contributions of the examples: see :mod:`autotune.trial.contributions`."""
    task_type = get_task_type(kind)
    scores = task_type.scores(split, values, label_names)
    own_scores = registered_scores(kind, *task_type.decode(split, values), label_names)
    return {**scores, **{score.name: score for score in own_scores}}


def without_samples(scores: Iterable[Measurement]) -> list[Measurement]:
    """``scores`` without the contributions of the examples, which only confirmations compare."""
    return [replace(score, samples=()) for score in scores]


def measure_latencies(
    model: PreTrainedModel, precision: Precision, collate: Collator, seed: int, loss: Loss
) -> tuple[list[float], list[float]]:
    """Milliseconds to predict one example without padding, at batch size 1: (warm-up, steady)."""
    device = collate.device
    order = np.random.default_rng(seed).permutation(len(collate.split))
    times: list[float] = []
    with inference(model, precision):
        first_start = now(device)
        for row in np.resize(order, LATENCY_WARMUP_CALLS + LATENCY_CALLS):
            start = now(device)
            _forward(model, collate, np.array([row]), loss)
            end = now(device)
            times.append((end - start) * 1e3)
            if end - first_start > MAX_LATENCY_SECONDS and len(times) > 2 * LATENCY_WARMUP_CALLS:
                break
    return times[:LATENCY_WARMUP_CALLS], times[LATENCY_WARMUP_CALLS:]


@contextmanager
def inference(model: PreTrainedModel, precision: Precision) -> Iterator[None]:
    """Run ``model`` in eval mode without gradients; autocast casts each weight only once."""
    model.eval()
    with torch.inference_mode(), precision.autocast():
        yield


def _empty_values(split: Split, kind: TaskKind, num_labels: int) -> np.ndarray:
    """Zeros in the shape of all predictions for ``split``."""
    if kind.predicts_classes:
        return np.zeros(split.labels.shape, np.int64)
    rows = len(split.tokens) if kind.logits_per_token else len(split)
    return np.zeros((rows, num_labels), np.float32)


def _forward(
    model: PreTrainedModel, collate: Collator, rows: Indices, loss: Loss
) -> tuple[Tensor, Tensor]:
    """The predicted values of a batch, and the loss of each of its labels."""
    batch = collate(rows)
    logits = output_logits(model(**batch.inputs)).float()
    values = logits.argmax(dim=-1) if loss.kind.predicts_classes else logits
    return values, loss.per_label(logits, batch.labels)


def _length_batches(lengths: np.ndarray, batch_size: int) -> list[Indices]:
    """Batches of examples of similar length, in random order."""
    batches = list(chunks(np.argsort(lengths, kind="stable"), batch_size))
    return [batches[index] for index in np.random.default_rng(0).permutation(len(batches))]
