"""Lever ``post_pruning_ratio``: the trained model without the heads and neurons it needs least.

It is made once for each trained model and ratio, in a folder next to the model, and shared by all
deployments. Nothing is trained: see :mod:`autotune.trial.effects.reconstruction`.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from autotune.deployment import trained_model
from autotune.domain import Strategy
from autotune.trial.data.batching import Collator, Indices, chunks
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.effects.latency_table import LatencyTable, measure_latencies
from autotune.trial.effects.pruning_plan import apply_plan
from autotune.trial.effects.pruning_scores import fisher_scores
from autotune.trial.effects.reconstruction import reconstruct
from autotune.trial.effects.uneven_plan import uneven_plan
from autotune.trial.encoder import encoder_of
from autotune.trial.loss import kind_of, label_arguments
from autotune.trial.model_files import PRUNED
from autotune.trial.split import Split

EXAMPLES = 256
"""Training examples on which heads and neurons are scored."""

MAX_TOKENS = 8192
"""Tokens of these examples to which the layers are fitted."""

BATCH_SIZE = 8


def pruned_model(
    model: Path, strategy: Strategy, prepared: PreparedTask, train: Split, seed: int
) -> Path:
    """The folder of the trained ``model``, pruned as ``strategy`` says: ``model`` itself at 0.

    ``train`` are the training examples, of which ``seed`` selects some. Raises
    :class:`~autotune.errors.Unsupported` for a family of models whose heads cannot be pruned, and
    for a ratio that cannot be reached.
    """
    ratio = float(strategy.get("post_pruning_ratio", 0.0))
    if ratio == 0:
        return model
    folder = model.with_name(f"{PRUNED}{ratio:g}")
    if not folder.exists():
        draft = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            _write(model, draft, ratio, prepared, train, seed)
            _publish(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _publish(draft: Path, folder: Path) -> None:
    """Rename ``draft`` to ``folder``, unless another trial has made the same model meanwhile."""
    try:
        draft.replace(folder)
    except OSError:
        if not folder.exists():
            raise


def _write(
    model: Path, folder: Path, ratio: float, prepared: PreparedTask, train: Split, seed: int
) -> None:
    complete = trained_model.load(model)
    pruned = prune_trained(complete, ratio, prepared, train, seed)
    folder.mkdir()
    for path in model.iterdir():
        if path.is_file() and path.name != trained_model.WEIGHTS:
            shutil.copyfile(path, folder / path.name)
    trained_model.save_weights(pruned, folder)


def prune_trained(
    model: PreTrainedModel, ratio: float, prepared: PreparedTask, train: Split, seed: int
) -> PreTrainedModel:
    """A copy of the trained ``model``, on the CPU, whose layers take ``ratio`` less time."""
    collate = Collator(
        train, prepared.pad_token_id, torch.device("cpu"), has_mask=prepared.has_mask
    )
    rows = np.random.default_rng(seed).permutation(len(train))[:EXAMPLES]
    kind = kind_of(prepared)

    def batches(rows: Indices, *, labels: bool) -> Iterator[dict[str, Tensor]]:
        for chunk in chunks(rows[np.argsort(train.lengths[rows], kind="stable")], BATCH_SIZE):
            batch = collate(chunk)
            yield {**batch.inputs, **(label_arguments(kind, batch.labels) if labels else {})}

    scores = fisher_scores(model, batches(rows, labels=True))
    plan = uneven_plan(scores, _latencies(model, int(np.median(train.lengths))), ratio)
    pruned = copy.deepcopy(model)
    apply_plan(pruned, plan)
    fitted = rows[np.cumsum(train.lengths[rows]) <= max(MAX_TOKENS, train.lengths[rows[0]])]
    reconstruct(pruned, model, batches(fitted, labels=False))
    return pruned


def _latencies(model: PreTrainedModel, length: int) -> Sequence[LatencyTable]:
    """The table of each layer; layers of the same shape share one."""
    encoder = encoder_of(model)
    shapes = [(layer.heads, layer.neurons) for layer in encoder.layers]
    tables = {
        shape: measure_latencies(
            encoder.module_list[shapes.index(shape)], encoder.family, max(length, 1)
        )
        for shape in dict.fromkeys(shapes)
    }
    return [tables[shape] for shape in shapes]
