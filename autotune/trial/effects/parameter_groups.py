"""Levers ``weight_decay`` and ``layer_decay``: parameter groups of the optimizer."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.trainer_pt_utils import get_parameter_names

from autotune.domain import Strategy
from autotune.domain.training import peak_learning_rate

ParameterGroup = dict[str, Any]
"""A group for torch's optimizers: ``params``, ``lr`` (the peak), ``weight_decay``, and
``rate_factor``, the ratio of its rate to that of the head."""

NO_DECAY = (r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)")
"""Names of parameters that Trainer does not decay."""

AFTER_LAYERS = re.compile(r"(?:^|\.)(?:pooler|final\w*)\.|^(?:norm|ln_f)\.")
"""The names of parameters after the layers of a base model."""


def parameter_groups(strategy: Strategy, model: PreTrainedModel) -> list[ParameterGroup]:
    """The trainable parameters of ``model``, grouped by weight decay and learning rate. Without
    either lever, one group."""
    decay, layer_decay = float(strategy["weight_decay"]), float(strategy["layer_decay"])
    rate = peak_learning_rate(strategy)
    decayed = set(get_parameter_names(model, [nn.LayerNorm], list(NO_DECAY))) if decay else set()
    depths = layer_depths(model) if layer_decay < 1 else {}
    top = max(depths.values(), default=0)
    groups: dict[tuple[float, float], ParameterGroup] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            weight_decay = decay if name in decayed else 0.0
            factor = layer_decay ** (top - depths.get(name, top))
            group = groups.setdefault(
                (weight_decay, factor),
                {"params": [], "lr": rate * factor, "weight_decay": weight_decay,
                 "rate_factor": factor},
            )  # fmt: skip
            group["params"].append(parameter)
    return list(groups.values())


def restrict(groups: Iterable[ParameterGroup], weights: Collection[Tensor]) -> list[ParameterGroup]:
    """``groups`` without the parameters that are not in ``weights``, and without empty groups."""
    ids = {id(weight) for weight in weights}
    parts = ({**group, "params": [p for p in group["params"] if id(p) in ids]} for group in groups)
    return [part for part in parts if part["params"]]


def layer_depths(model: PreTrainedModel) -> dict[str, int]:
    """The depth of each parameter by name: 0 for the embeddings and what else all layers read, such
    as relative positions, 1 for the lowest layer, one more for each layer above it, and one more
    for the modules after the layers. Some families have several lists of the parts of a layer."""
    base, prefix = model.base_model, f"{model.base_model_prefix}."
    lists = {n: len(m) for n, m in base.named_modules() if isinstance(m, nn.ModuleList)}
    layers = max(lists.values(), default=0)
    paths = "|".join(re.escape(prefix + path) for path, size in lists.items() if size == layers)
    in_layer = re.compile(rf"(?:{paths})\.(\d+)\.")
    depths = {}
    for name, _ in model.named_parameters():
        if (match := in_layer.match(name)) is not None:
            depths[name] = int(match[1]) + 1
        else:
            is_last = not name.startswith(prefix) or AFTER_LAYERS.search(name[len(prefix) :])
            depths[name] = layers + 1 if is_last else 0
    return depths


def head_parameters(model: PreTrainedModel) -> list[nn.Parameter]:
    """The parameters after the layers: pooler and classifier."""
    depths = layer_depths(model)
    top = max(depths.values())
    return [parameter for name, parameter in model.named_parameters() if depths[name] == top]
