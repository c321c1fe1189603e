"""Lever ``adapter``: peft's LoRA, AdaLoRA, DoRA and IA3 in the layers of the encoder.

Adapters are injected into the model, which stays a plain model of transformers. For evaluation and
at the end they are merged into the weights, so that nothing else needs to know of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from autotune.domain import Strategy
from autotune.errors import Unsupported
from autotune.trial.effects.parameter_groups import head_parameters
from autotune.trial.effects.rank_allocation import RankAllocation, add_allocated_adapter
from autotune.trial.encoder import Layer, encoder_of


def has_adapter(strategy: Strategy) -> bool:
    return strategy["adapter"] != "none"


def add_adapter(strategy: Strategy, model: PreTrainedModel, seed: int) -> RankAllocation | None:
    """Freeze the encoder of ``model`` and add the adapter to its layers; the head is trained too.

    ``seed`` initialises the adapter. Call it after pruning, which changes the layers. With
    ``adalora``, returns the allocation of ranks, which takes part in training. Raises
    :class:`Unsupported` without the package peft.
    """
    try:
        from peft import inject_adapter_in_model
    except ImportError as error:
        raise Unsupported(
            "adapters need the package peft", hint="pip install 'autotune[peft]'"
        ) from error
    head, ranks = head_parameters(model), None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if strategy["adapter"] == "adalora":
            rank, alpha = int(strategy["adapter_rank"]), int(strategy["adapter_alpha"])
            ranks = add_allocated_adapter(model, rank, alpha, _updated_matrices(strategy, model))
        else:
            inject_adapter_in_model(_config(strategy, model), model)
    for parameter in head:
        parameter.requires_grad_(True)
    return ranks


def merge_adapters(model: nn.Module) -> None:
    """Merge the adapters of ``model`` into its weights and remove them; nothing without adapters.

    Weights that were cast to half precision are merged in fp32.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if _is_adapter(child):
                setattr(parent, name, _merged(child))


def merged_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of ``model`` with merged adapters, which shares the weights without adapters."""
    adapted = {id(p) for m in model.modules() if _is_adapter(m) for p in m.parameters()}
    shared = {id(p): p for p in model.parameters() if id(p) not in adapted}
    model_copy = copy.deepcopy(model, shared)
    merge_adapters(model_copy)
    return model_copy


def _merged(adapter: Any) -> nn.Module:
    base: nn.Module = adapter.get_base_layer()
    is_pure = all(p.dtype == torch.bfloat16 for p in adapter.parameters())
    if not is_pure:
        base.float()
    adapter.merge()
    return base


def _is_adapter(module: nn.Module) -> bool:
    """Whether ``module`` is a layer of peft around one of the model."""
    return hasattr(module, "get_base_layer") and hasattr(module, "merge")


def _config(strategy: Strategy, model: PreTrainedModel) -> Any:
    from peft import IA3Config, LoraConfig

    if strategy["adapter"] == "ia3":
        layers = encoder_of(model).layers
        outputs = [layer.ffn_out for layer in layers]
        keys = [linear for layer in layers for linear in (layer.key, layer.value)]
        return IA3Config(
            target_modules=_names(model, [*keys, *outputs]),
            feedforward_modules=_names(model, outputs),
        )
    return LoraConfig(
        r=int(strategy["adapter_rank"]),
        lora_alpha=int(strategy["adapter_alpha"]),
        use_dora=strategy["adapter"] == "dora",
        target_modules=_updated_matrices(strategy, model),
    )


def _updated_matrices(strategy: Strategy, model: PreTrainedModel) -> list[str]:
    """The names of the modules that the lever ``adapter_targets`` selects."""
    has_all = strategy["adapter_targets"] == "all"
    layers = encoder_of(model).layers
    return _names(model, [linear for layer in layers for linear in _targets(layer, has_all)])


def _targets(layer: Layer, has_all: bool) -> tuple[nn.Linear, ...]:
    return layer.linears if has_all else (layer.query, layer.value)


def _names(model: nn.Module, modules: Iterable[nn.Module]) -> list[str]:
    ids = {id(module) for module in modules}
    return [name for name, module in model.named_modules() if id(module) in ids]
