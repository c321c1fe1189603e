"""The strategy applied to a fresh model, up to where the trainer takes over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from autotune.export.templates.folder import Folder
from autotune.trial.data.batching import Collator, chunks
from autotune.trial.effects.checkpointing import enable_activation_checkpointing
from autotune.trial.effects.freezing import freeze
from autotune.trial.effects.precision import Precision
from autotune.trial.effects.pruning import prune
from autotune.trial.effects.pruning_masks import Masks
from autotune.trial.models import load_model

SCORED_EXAMPLES = 64
SCORED_BATCH = 8


@dataclass(frozen=True)
class Built:
    """``masks`` hold single weights at zero and are to be applied after each optimizer step."""

    model: PreTrainedModel
    precision: Precision
    masks: Masks | None


def build(folder: Folder, collate: Collator) -> Built:
    """Load the base model and prune, freeze and cast it, in the order in which the trial did."""
    strategy, dropout = folder.strategy, folder.strategy["dropout"]
    torch.manual_seed(folder.seed)
    model = load_model(
        folder.prepared,
        attention=str(strategy["attention"]),
        dropout=None if dropout == "model" else float(dropout),
        seed=folder.seed,
    )
    model.to(device=collate.device)  # type: ignore[call-arg]
    masks = _prune(folder, model, collate)
    if int(strategy["freeze_layers"]) > 0:
        freeze(model, int(strategy["freeze_layers"]))
    if strategy["activation_checkpointing"]:
        enable_activation_checkpointing(model)
    precision = Precision(str(strategy["precision"]), collate.device)
    precision.prepare(model)
    return Built(model, precision, masks)


def runnable(folder: Folder, model: PreTrainedModel) -> Callable[..., Any]:
    """The model, compiled where the strategy says so: into one graph for all lengths, unless they
    are all alike."""
    if not folder.strategy["compile"]:
        return model
    compiled: Callable[..., Any] = torch.compile(
        model, dynamic=folder.strategy["padding"] != "fixed"
    )
    return compiled


def _prune(folder: Folder, model: PreTrainedModel, collate: Collator) -> Masks | None:
    ratio = float(folder.strategy["pruning_ratio"])
    if ratio == 0:
        return None
    return prune(
        model,
        ratio=ratio,
        method=str(folder.strategy["pruning_method"]),
        score=str(folder.strategy["pruning_score"]),
        batches=_labelled(collate, folder.seed),
    ).masks


def _labelled(collate: Collator, seed: int) -> Iterator[dict[str, Tensor]]:
    """The training examples by which heads and neurons are scored."""
    drawn = np.random.default_rng(seed).permutation(len(collate.split))[:SCORED_EXAMPLES]
    for batch in map(collate, chunks(drawn, SCORED_BATCH)):
        yield {**batch.inputs, "labels": batch.labels}
