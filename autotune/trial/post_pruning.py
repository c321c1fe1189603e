"""Lever ``post_pruning_ratio``: the trained model without the heads and neurons it needs least.

It is made once for each trained model and ratio, in a folder next to the model, and shared by all
deployments. The plan depends on latencies that are timed, so it is kept beside the model: a copy
that was deleted is made again of the same heads and neurons. Nothing is trained: see
:mod:`autotune.trial.effects.reconstruction`.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
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
from autotune.trial.effects.pruning_plan import PruningPlan, apply_plan
from autotune.trial.effects.pruning_scores import fisher_scores
from autotune.trial.effects.reconstruction import reconstruct
from autotune.trial.effects.uneven_plan import uneven_plan
from autotune.trial.encoder import encoder_of
from autotune.trial.loss import batch_loss, kind_of, label_arguments
from autotune.trial.model_files import PLAN, PRUNED, draft_of
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
        draft = draft_of(folder)
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
    complete, examples = trained_model.load(model), _Examples(prepared, train, seed)
    path = model.with_name(f"{PLAN}{ratio:g}.json")
    plan = _read_plan(path)
    if plan is None:
        plan = _share_plan(choose_plan(complete, ratio, examples), path)
    pruned = prune_trained(complete, plan, examples)
    folder.mkdir()
    for file in model.iterdir():
        if file.is_file() and file.name != trained_model.WEIGHTS:
            shutil.copyfile(file, folder / file.name)
    trained_model.save_weights(pruned, folder)


def _read_plan(path: Path) -> PruningPlan | None:
    """What an earlier copy keeps; ``None`` if there was none."""
    with suppress(OSError, ValueError):
        plan: PruningPlan = json.loads(path.read_bytes())
        return plan
    return None


def _share_plan(plan: PruningPlan, path: Path) -> PruningPlan:
    """Write ``plan``; that of another trial if it was faster."""
    draft = draft_of(path)
    try:
        draft.write_text(json.dumps(plan), encoding="utf-8")
        os.link(draft, path)
    except FileExistsError:
        other = _read_plan(path)
        if other is not None:
            return other
        draft.replace(path)  # the present one was cut off
    finally:
        draft.unlink(missing_ok=True)
    return plan


@dataclass(frozen=True)
class _Examples:
    """Training examples, of which ``seed`` selects some."""

    prepared: PreparedTask
    train: Split
    seed: int

    @cached_property
    def rows(self) -> Indices:
        """The examples on which heads and neurons are scored."""
        return np.random.default_rng(self.seed).permutation(len(self.train))[:EXAMPLES]

    @property
    def fitted_rows(self) -> Indices:
        """The first of them, to which the layers are fitted: at least one."""
        lengths = self.train.lengths[self.rows]
        return self.rows[np.cumsum(lengths) <= max(MAX_TOKENS, lengths[0])]

    def batches(self, rows: Indices, *, labels: bool) -> Iterator[dict[str, Tensor]]:
        prepared, train, kind = self.prepared, self.train, kind_of(self.prepared)
        collate = Collator(
            train, prepared.pad_token_id, torch.device("cpu"), has_mask=prepared.has_mask
        )
        for chunk in chunks(rows[np.argsort(train.lengths[rows], kind="stable")], BATCH_SIZE):
            batch = collate(chunk)
            yield {**batch.inputs, **(label_arguments(kind, batch.labels) if labels else {})}


def choose_plan(model: PreTrainedModel, ratio: float, examples: _Examples) -> PruningPlan:
    """What to keep of the trained ``model``, so that its layers take ``ratio`` less time."""
    batches = examples.batches(examples.rows, labels=True)
    scores = fisher_scores(model, batches, batch_loss(examples.prepared))
    length = int(np.median(examples.train.lengths))
    return uneven_plan(scores, _latencies(model, length), ratio)


def prune_trained(
    model: PreTrainedModel, plan: PruningPlan, examples: _Examples
) -> PreTrainedModel:
    """A copy of the trained ``model``, on the CPU, reduced to ``plan``."""
    pruned = copy.deepcopy(model)
    apply_plan(pruned, plan)
    reconstruct(pruned, model, examples.batches(examples.fitted_rows, labels=False))
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
