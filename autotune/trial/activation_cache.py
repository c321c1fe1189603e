"""Lever ``cache_activations``: the outputs of frozen layers, computed once for each example.

Training then runs only the layers above. Frozen layers run without dropout. Trials that freeze as
much of the same model share the outputs through the cache folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from autotune.domain import Strategy
from autotune.domain.strategy import digest
from autotune.levers.effects import MODEL_LEVERS
from autotune.measure.clock import now
from autotune.measure.energy import EnergyMeter, counters
from autotune.trial.data.activations import Activations, ComputationCost, read_activations
from autotune.trial.data.batching import Collator, Indices, chunks
from autotune.trial.data.cache import get_or_build
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.distributed.stages import build_stage
from autotune.trial.effects.precision import Precision
from autotune.trial.encoder import encoder_of
from autotune.trial.loss import kind_of

BATCH_SIZE = 32
"""Examples of one pass through the frozen layers."""

FORMAT = 2
"""The version of the files in the cache folder."""

KEY_LEVERS = (
    "attention", "freeze_layers", "precision", "pruning_method", "pruning_ratio",
    "pruning_schedule", "pruning_score",
)  # fmt: skip
"""Levers on which the outputs of frozen layers depend, besides those of plug-ins."""


def cached_activations(
    strategy: Strategy,
    model: PreTrainedModel,
    precision: Precision,
    prepared: PreparedTask,
    collate: Collator,
    seed: int,
) -> Activations:
    """The outputs of the frozen layers of ``model`` for the examples of ``collate``, from the cache
    folder if a trial has computed them before. ``seed`` selects the examples of pruning scores."""
    is_pruned = float(strategy["pruning_ratio"]) > 0
    # The loss of spans, and so the scores of its gradients, depends on the padding.
    padding = ("padding", "compile") if is_pruned and kind_of(prepared).predicts_spans else ()
    names = (*KEY_LEVERS, *padding, *_active_plugin_levers(strategy))
    settings = {lever: strategy[lever] for lever in names}
    key = digest(
        [prepared.folder, prepared.data_digest, prepared.max_length, settings, collate.device.type,
         torch.__version__, seed if is_pruned else None, FORMAT]
    )  # fmt: skip
    computed: list[Activations] = []

    def build(folder: Path) -> None:
        meter, start = EnergyMeter(counters([collate.device])), now(collate.device)
        with meter.running():
            computed.append(_compute(model, int(strategy["freeze_layers"]), precision, collate))
        cost = ComputationCost(now(collate.device) - start, meter.joules)
        computed[0].write(folder, cost)

    folder = get_or_build("activations", key, build)
    return computed[0] if computed else read_activations(folder, collate.split.offsets)


def _active_plugin_levers(strategy: Strategy) -> list[str]:
    """The levers of plug-ins that change the model: any of them may change frozen layers."""
    return [
        name
        for name, lever in MODEL_LEVERS.items()
        if name in strategy and not lever.is_neutral(strategy[name])
    ]


def upper_model(
    strategy: Strategy, model: PreTrainedModel, precision: Precision
) -> PreTrainedModel:
    """``model`` without its frozen parts, with the same weights: it takes their outputs as
    ``inputs_embeds``."""
    layers = len(encoder_of(model).module_list)
    frozen = _frozen_layers(int(strategy["freeze_layers"]), layers)
    parts = [range(frozen), range(frozen, layers)]
    upper = build_stage(model, parts, 1, precision).model
    upper.train()
    return upper


def _compute(
    model: PreTrainedModel, freeze_layers: int, precision: Precision, collate: Collator
) -> Activations:
    split = collate.split
    order = np.argsort(split.lengths, kind="stable")
    examples: list[Tensor] = [torch.empty(0)] * len(order)
    was_training = model.training
    model.eval()
    for rows in chunks(order, BATCH_SIZE):
        states = _frozen_output(model, freeze_layers, precision, collate, rows)
        for row, state in zip(rows, states.to("cpu"), strict=True):
            examples[row] = state[: split.lengths[row]]
    model.train(was_training)
    return Activations(torch.cat(examples), split.offsets)


@torch.no_grad()
def _frozen_output(
    model: PreTrainedModel,
    freeze_layers: int,
    precision: Precision,
    collate: Collator,
    rows: Indices,
) -> Tensor:
    """The output of the last frozen part for ``rows``: ``[rows, length, size]``."""

    def capture(module: nn.Module, arguments: Any, output: Any) -> None:
        raise _Captured(output[0] if isinstance(output, tuple) else output)

    handle = _last_frozen(model, freeze_layers).register_forward_hook(capture)
    try:
        with precision.autocast():
            model.base_model(**collate(rows).inputs)
    except _Captured as captured:
        return captured.output
    finally:
        handle.remove()
    raise AssertionError("a forward pass runs every layer")


class _Captured(Exception):
    """Ends a forward pass at the last frozen part, with its output."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


def _last_frozen(model: PreTrainedModel, freeze_layers: int) -> nn.Module:
    encoder = encoder_of(model)
    frozen = _frozen_layers(freeze_layers, len(encoder.module_list))
    return encoder.module_list[frozen - 1] if frozen else encoder.embeddings[-1]


def _frozen_layers(freeze_layers: int, layers: int) -> int:
    """The number of frozen layers: ``freeze_layers`` counts the embeddings as one."""
    return min(freeze_layers - 1, layers)
