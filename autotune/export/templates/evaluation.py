"""How good the fine-tuned model is, on examples that it was not trained on."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
import torch
from transformers import PreTrainedModel

from autotune.domain import Measurement
from autotune.export.templates.folder import Folder
from autotune.trial.data.batching import Collator, chunks
from autotune.trial.effects.precision import Precision
from autotune.trial.tasks import task_kind

BATCH = 32


def judge(
    folder: Folder, model: PreTrainedModel, precision: Precision, device: torch.device
) -> dict[str, Mapping[str, Measurement]]:
    """Scores with their intervals by split: on ``validation``, by which the strategy was chosen,
    and on ``test``, which the search never saw."""
    found: dict[str, Mapping[str, Measurement]] = {}
    for name in ("validation", "test"):
        collate = folder.judging(name, device)
        split, classes = collate.split, predict(model, precision, collate)
        kind = task_kind(folder.task.kind)
        found[name] = kind.scores(split.labels, classes, split.offsets, folder.label_names)
    return found


def predict(model: PreTrainedModel, precision: Precision, collate: Collator) -> np.ndarray:
    """The best class of each label of the collator's split, in the split's order."""
    classes = np.zeros(collate.split.labels.shape, np.int64)
    model.train(False)
    with torch.inference_mode(), precision.autocast():
        for rows in chunks(np.argsort(collate.split.lengths, kind="stable"), BATCH):
            best = model(**collate(rows).inputs).logits.argmax(dim=-1)
            collate.split.place(rows, best.numpy(force=True), classes)
    return classes


def print_summary(
    samples_per_second: float, scores: Mapping[str, Mapping[str, Measurement]]
) -> None:
    """Print the speed of training, and the scores a line a split."""
    lines = [f"train: {samples_per_second:.1f} samples/s"]
    for split, found in scores.items():
        lines.append(f"{split}: " + ", ".join(f"{name} {m.value:.4f}" for name, m in found.items()))
    sys.stdout.write("\n".join(lines) + "\n")
