"""The strategy, applied to a fresh model in one ordered function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from autotune.domain import Strategy
from autotune.trial.data.batching import Collator, chunks
from autotune.trial.data.prepared import Prepared
from autotune.trial.distributed.process_group import ProcessGroup, SingleProcess, TrainState
from autotune.trial.effects import optimizers
from autotune.trial.effects.checkpointing import enable_activation_checkpointing
from autotune.trial.effects.device_map import dispatch_model
from autotune.trial.effects.devices import places
from autotune.trial.effects.freezing import freeze
from autotune.trial.effects.precision import Precision
from autotune.trial.effects.pruning import prune
from autotune.trial.effects.pruning_masks import Masks
from autotune.trial.models import load_model

SCORED_EXAMPLES = 64
SCORED_BATCH = 8


def apply_strategy(
    strategy: Strategy,
    prepared: Prepared,
    collate: Collator,
    seed: int,
    crew: ProcessGroup | None = None,
) -> TrainState:
    """Load the model and make it what the strategy asks for. Where pruning scores heads and
    neurons by data, it sees training examples that ``seed`` draws. Every process of ``crew`` does
    so, and keeps its part."""
    # Attention and dropout are settings of the model's construction.
    model = load_model(
        prepared,
        attention=str(strategy["attention"]),
        dropout=_dropout(strategy),
        seed=seed,
    )
    # Scores for pruning want gradients: on the device they are quicker, in fp32 exact.
    device = collate.device
    model.to(device=device)  # type: ignore[call-arg]
    masks = _prune(strategy, model, collate, seed)
    # Layers are counted as pruning left them.
    if int(strategy["freeze_layers"]) > 0:
        freeze(model, int(strategy["freeze_layers"]))
    if strategy["activation_checkpointing"]:
        enable_activation_checkpointing(model)
    # Pruning has made its new weights, freezing has said which need no cast per batch.
    spread_out = strategy["placement"] not in ("single", "mixed")
    precision = Precision(str(strategy["precision"]), device, on_host_too=spread_out)
    precision.prepare(model)
    # The compiler sees the final weights and layers.
    run: Callable[..., Any] = _compiled(strategy, model) if strategy["compile"] else model
    if crew is not None and not isinstance(crew, SingleProcess):
        from autotune.trial.distributed.collectives import DistributedGroup
        from autotune.trial.distributed.parallelize import parallelize

        assert isinstance(crew, DistributedGroup)
        # Ranks that see different examples should not drop out alike; those of one copy must.
        torch.manual_seed(seed + crew.data_rank)
        # Ranks share what is there when all else has been applied.
        return parallelize(strategy, model, run, precision, masks, crew)
    if spread_out:
        with precision.autocast():  # layers may be timed
            dispatch_model(model, str(strategy["placement"]), places(strategy))
    # The optimizer holds the very parameters that are left, in the precision they have.
    rate = optimizers.peak_rate(strategy)
    optimizer = optimizers.for_strategy(strategy, model, rate)
    return TrainState(
        model, run, optimizer, precision, rate, masks, device, crew or SingleProcess(device)
    )


def _dropout(strategy: Strategy) -> float | None:
    dropout = strategy["dropout"]
    return None if dropout == "model" else float(dropout)


def _prune(
    strategy: Strategy, model: PreTrainedModel, collate: Collator, seed: int
) -> Masks | None:
    ratio = float(strategy["pruning_ratio"])
    if ratio == 0:
        return None
    method, score = str(strategy["pruning_method"]), str(strategy["pruning_score"])
    batches = _labelled(collate, seed)
    return prune(model, ratio=ratio, method=method, score=score, batches=batches).masks


def _labelled(collate: Collator, seed: int) -> Iterator[dict[str, Tensor]]:
    drawn = np.random.default_rng(seed).permutation(len(collate.split))[:SCORED_EXAMPLES]
    for batch in map(collate, chunks(drawn, SCORED_BATCH)):
        yield {**batch.inputs, "labels": batch.labels}


def _compiled(strategy: Strategy, model: PreTrainedModel) -> Callable[..., Any]:
    """One graph for all lengths, unless they are all alike: compiling takes half a minute a
    graph."""
    compiled: Callable[..., Any] = torch.compile(model, dynamic=strategy["padding"] != "fixed")
    return compiled
