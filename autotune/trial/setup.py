"""The model of a strategy: loaded, pruned, frozen and cast.

Trials and exported scripts both call :func:`build_model`, so that they train the same model.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from autotune.domain import Strategy
from autotune.domain.tasks import TASK_KINDS, TaskKind
from autotune.domain.training import (
    PRUNING_SCORE_BATCH_SIZE,
    PRUNING_SCORE_EXAMPLES,
    PRUNING_TRAINING_STEPS,
)
from autotune.levers.base import Stage
from autotune.levers.numerics import CUDA_GRAPHS, GRAPH_MODE
from autotune.trial.data.batching import Collator, Indices, chunks
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.effects.adapters import add_adapter, has_adapter
from autotune.trial.effects.checkpointing import enable_activation_checkpointing
from autotune.trial.effects.device_map import preserve_rng
from autotune.trial.effects.freezing import freeze
from autotune.trial.effects.hooks import SetupContext, apply_hooks
from autotune.trial.effects.precision import Precision
from autotune.trial.effects.pruning import prune
from autotune.trial.effects.pruning_masks import Masks
from autotune.trial.effects.pruning_schedule import training_before_removals
from autotune.trial.effects.pruning_scores import BatchLoss
from autotune.trial.effects.quantization_aware import add_rounding
from autotune.trial.effects.rank_allocation import RankAllocation
from autotune.trial.loss import batch_loss, label_arguments
from autotune.trial.models import load_model


@dataclass(frozen=True)
class ModelSetup:
    """A model to which a strategy has been applied, on one device. Where ``masks`` are set
    (unstructured pruning), they must be applied again after every optimizer step. Where ``ranks``
    are set (AdaLoRA), they are allocated after every step, and their penalty is a part of the loss.
    """

    model: PreTrainedModel
    precision: Precision
    masks: Masks | None
    ranks: RankAllocation | None = None

    @property
    def penalty(self) -> Callable[[], Tensor] | None:
        """What is added to the mean loss of training."""
        return None if self.ranks is None else self.ranks.penalty


def build_model(
    strategy: Strategy, prepared: PreparedTask, collate: Collator, seed: int
) -> ModelSetup:
    """Load the model of ``prepared`` on the collator's device and apply ``strategy`` to it.

    ``seed`` initialises the head, and selects the training examples on which pruning scores heads
    and neurons.
    """
    # Attention and dropout are part of the model's config.
    dropout = strategy["dropout"]
    model = load_model(
        prepared,
        attention=str(strategy["attention"]),
        dropout=None if dropout == "model" else float(dropout),
        seed=seed,
    )
    # Pruning scores need gradients: fast on the device, exact in fp32.
    model.to(device=collate.device)  # type: ignore[call-arg]
    rows = np.random.default_rng(seed).permutation(len(collate.split))
    batches = partial(_labelled_batches, collate, TASK_KINDS[prepared.kind])
    scoring_batches = partial(batches, rows[:PRUNING_SCORE_EXAMPLES])
    context = SetupContext(collate.device, seed, batches=scoring_batches)
    apply_hooks(Stage.LOAD, model, strategy, context)
    training_rows = np.resize(rows, PRUNING_TRAINING_STEPS * PRUNING_SCORE_BATCH_SIZE)
    with preserve_rng(collate.device):  # schedules train with dropout
        torch.manual_seed(seed)
        loss = batch_loss(prepared)
        masks = _prune(strategy, model, scoring_batches(), batches(training_rows), loss)
    apply_hooks(Stage.PRUNE, model, strategy, context)
    # Layers are counted after pruning.
    if int(strategy["freeze_layers"]) > 0:
        freeze(model, int(strategy["freeze_layers"]))
    ranks = add_adapter(strategy, model, seed) if has_adapter(strategy) else None
    if strategy["activation_checkpointing"]:
        enable_activation_checkpointing(model)
    apply_hooks(Stage.FREEZE, model, strategy, context)
    # The cast comes after pruning, which creates weights, and freezing: frozen weights are cast
    # once instead of once a batch.
    spans_cpu = strategy.get("placement", "single") not in ("single", "mixed")
    precision = Precision(str(strategy["precision"]), collate.device, autocast_cpu=spans_cpu)
    precision.prepare(model)
    if strategy["quantization_aware"]:
        add_rounding(model)
    apply_hooks(Stage.PRECISION, model, strategy, context)
    return ModelSetup(model, precision, masks, ranks)


def compile_model(strategy: Strategy, model: PreTrainedModel) -> Callable[..., Any]:
    """What training calls: ``model``, or its compiled form with ``compile``.

    Compilation takes about half a minute a graph, so variable lengths share one dynamic graph.
    """
    if not strategy["compile"]:
        return model
    if strategy["compile"] == CUDA_GRAPHS:
        return _record_graphs(torch.compile(model, dynamic=False, mode=GRAPH_MODE))
    compiled: Callable[..., Any] = torch.compile(model, dynamic=strategy["padding"] != "fixed")
    return compiled


def compiled_graphs() -> int:
    """How many graphs torch has compiled in this process."""
    dynamo = sys.modules.get("torch._dynamo.utils")  # not imported where nothing is compiled
    return 0 if dynamo is None else int(dynamo.counters["stats"]["unique_graphs"])


def _record_graphs(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """``compiled``, which may reuse the memory of the previous batch's outputs at each call."""

    @wraps(compiled)
    def forward(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return compiled(*args, **kwargs)

    return forward


def _prune(
    strategy: Strategy,
    model: PreTrainedModel,
    scoring_batches: Iterator[dict[str, Tensor]],
    training_batches: Iterator[dict[str, Tensor]],
    loss: BatchLoss,
) -> Masks | None:
    ratio = float(strategy["pruning_ratio"])
    if ratio == 0:
        return None
    report = prune(
        model,
        ratio=ratio,
        method=str(strategy["pruning_method"]),
        score=str(strategy["pruning_score"]),
        batches=scoring_batches,
        schedule=str(strategy["pruning_schedule"]),
        train=training_before_removals(strategy, model, training_batches, loss),
        loss=loss,
    )
    return report.masks


def _labelled_batches(
    collate: Collator, kind: TaskKind, rows: Indices
) -> Iterator[dict[str, Tensor]]:
    """Training examples in batches for pruning, as model arguments."""
    for batch in map(collate, chunks(rows, PRUNING_SCORE_BATCH_SIZE)):
        yield {**batch.inputs, **label_arguments(kind, batch.labels)}
