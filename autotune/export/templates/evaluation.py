"""Evaluates the fine-tuned model on validation and test."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import torch
from transformers import PreTrainedModel

from autotune.domain import Measurement
from autotune.export.templates.folder import ExportFolder
from autotune.trial.distributed.process_group import ProcessGroup, SingleProcess
from autotune.trial.effects.precision import Precision
from autotune.trial.evaluation import compute_scores, predict, score, without_samples
from autotune.trial.loss import build_loss
from autotune.trial.thresholds import choose_threshold


def evaluate(
    folder: ExportFolder, model: PreTrainedModel, precision: Precision, device: torch.device
) -> dict[str, Mapping[str, Measurement]]:
    """Scores with their intervals on ``validation``, which selected the strategy, and on ``test``,
    which the search did not use. Both have the threshold of ``validation``, which is among the
    scores if the task has one."""
    scores: dict[str, Mapping[str, Measurement]] = {}
    threshold: float | None = None
    for name in ("validation", "test"):
        collate = folder.eval_collator(name, device)
        split = collate.split
        predictions = predict(
            model, precision, collate, SingleProcess(device), build_loss(folder.prepared)
        )
        if name == "validation":
            threshold = choose_threshold(folder.prepared, split, predictions.values)
        values = predictions.at_threshold(folder.task.kind, split, threshold).values
        measurements = compute_scores(folder.task.kind, split, values, folder.label_names)
        scores[name] = {m.name: m for m in without_samples(measurements.values())}
        if threshold is not None:
            scores[name] = {**scores[name], "threshold": Measurement("threshold", threshold, "")}
    return scores


def validation_scores(
    folder: ExportFolder,
    model: PreTrainedModel,
    precision: Precision,
    device: torch.device,
    group: ProcessGroup | None = None,
) -> dict[str, float]:
    """Scores and mean loss on ``validation``, which the processes of ``group`` share."""
    collate = folder.eval_collator("validation", device)
    loss = build_loss(folder.prepared)
    predictions = predict(model, precision, collate, group or SingleProcess(device), loss)
    threshold = choose_threshold(folder.prepared, collate.split, predictions.values)
    predictions = predictions.at_threshold(folder.task.kind, collate.split, threshold)
    return {m.name: m.value for m in score(predictions, collate.split, folder.prepared)}


def print_summary(
    samples_per_second: float, scores: Mapping[str, Mapping[str, Measurement]]
) -> None:
    """Print training throughput, and one line of scores per split."""
    lines = [f"train: {samples_per_second:.1f} samples/s"]
    for split, measurements in scores.items():
        values = (f"{name} {m.value:.4f}" for name, m in measurements.items())
        lines.append(f"{split}: {', '.join(values)}")
    sys.stdout.write("\n".join(lines) + "\n")
