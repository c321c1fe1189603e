"""Pruning plans: what to keep of an encoder, as JSON data, and its application to a model.

A plan has the indices of what is *kept*, so that a new copy of the model can be reduced to the same
shape and load the weights of the pruned one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from autotune.errors import ModelError
from autotune.trial.encoder import Encoder, Layer, encoder_of


class PruningPlan(TypedDict):
    """Indices of the kept layers, and of the kept heads and neurons of each; ascending."""

    layers: list[int]
    heads: list[list[int]]
    neurons: list[list[int]]


def identity_plan(model: PreTrainedModel) -> PruningPlan:
    """The plan that keeps everything."""
    layers = encoder_of(model).layers
    return PruningPlan(
        layers=list(range(len(layers))),
        heads=[list(range(layer.heads)) for layer in layers],
        neurons=[list(range(layer.neurons)) for layer in layers],
    )


def compose(first: PruningPlan, second: PruningPlan) -> PruningPlan:
    """The plan that keeps what remains if ``second`` is applied to the result of ``first``."""
    layers = second["layers"]
    return PruningPlan(
        layers=[first["layers"][layer] for layer in layers],
        heads=[
            [first["heads"][layer][head] for head in heads]
            for layer, heads in zip(layers, second["heads"], strict=True)
        ],
        neurons=[
            [first["neurons"][layer][neuron] for neuron in neurons]
            for layer, neurons in zip(layers, second["neurons"], strict=True)
        ],
    )


def apply_plan(model: PreTrainedModel, plan: PruningPlan) -> None:
    """Remove from ``model``, in place, everything that ``plan`` does not keep.

    The kept weights have the same values, dtype, device and ``requires_grad``, but are new
    parameters: build the optimizer afterwards. The config is updated as far as it can express the
    plan: number of layers, and number of neurons if all layers have the same. Its number of heads
    does not change, because transformers derives the head size from it.

    Raises :class:`~autotune.errors.ModelError`, before any change, if the plan is for another
    model.
    """
    encoder = encoder_of(model)
    _check(plan, encoder)
    _keep_layers(encoder.module_list, plan["layers"])
    kept = [encoder.layers[index] for index in plan["layers"]]
    for layer, heads, neurons in zip(kept, plan["heads"], plan["neurons"], strict=True):
        keep_heads(layer, heads)
        keep_neurons(layer, neurons)
    _update_config(model, encoder.family.ffn_size, kept)


def pad_heads(model: PreTrainedModel) -> None:
    """Restore the original number of heads of every layer, with zero weights.

    The outputs do not change, and ``from_pretrained`` can load the result, because the config
    cannot express fewer heads of the same size. The speed-up of the pruned heads is lost; the
    feed-forward layers stay small.
    """
    for layer in encoder_of(model).layers:
        missing = layer.attention_output.out_features - layer.attention_output.in_features
        for projection in (layer.query, layer.key, layer.value):
            projection.weight = _parameter_like(
                projection.weight, _pad_rows(projection.weight, rows=missing)
            )
            projection.bias = _parameter_like(
                projection.bias, _pad_rows(projection.bias, rows=missing)
            )
            projection.out_features += missing
        output = layer.attention_output
        output.weight = _parameter_like(
            output.weight, _pad_rows(output.weight.t(), rows=missing).t()
        )
        output.in_features += missing
        layer.update_head_count()


def pad_neurons(model: PreTrainedModel) -> None:
    """Give all layers as many neurons as the largest has, with zero weights, and write that number
    to the config. The outputs do not change: a zero row of the next matrix ignores its neuron."""
    encoder = encoder_of(model)
    most = max(layer.neurons for layer in encoder.layers)
    for layer in encoder.layers:
        missing = most - layer.neurons
        inner, outer = layer.ffn_in, layer.ffn_out
        inner.weight = _parameter_like(inner.weight, _pad_rows(inner.weight, rows=missing))
        inner.bias = _parameter_like(inner.bias, _pad_rows(inner.bias, rows=missing))
        outer.weight = _parameter_like(outer.weight, _pad_rows(outer.weight.t(), rows=missing).t())
        inner.out_features = outer.in_features = most
    _update_config(model, encoder.family.ffn_size, encoder.layers)


def _check(plan: PruningPlan, encoder: Encoder) -> None:
    _check_indices(plan["layers"], len(encoder.layers), "layers")
    if not len(plan["layers"]) == len(plan["heads"]) == len(plan["neurons"]):
        raise ModelError("the pruning plan does not list heads and neurons once for each layer")
    for index, heads, neurons in zip(plan["layers"], plan["heads"], plan["neurons"], strict=True):
        layer = encoder.layers[index]
        _check_indices(heads, layer.heads, f"heads of layer {index}")
        _check_indices(neurons, layer.neurons, f"neurons of layer {index}")


def _check_indices(kept: Sequence[int], count: int, what: str) -> None:
    if not kept or list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= count:
        raise ModelError(
            f"the pruning plan does not fit the model, which has {count} {what}",
            hint="apply the plan to the unpruned model that it was made for",
        )


def _keep_layers(holder: nn.ModuleList, kept: Sequence[int]) -> None:
    for index in reversed(range(len(holder))):
        if index not in kept:
            del holder[index]


def keep_heads(layer: Layer, heads: Sequence[int]) -> None:
    """Remove all but the attention heads ``heads`` (ascending) of ``layer``, in place."""
    if len(heads) == layer.heads:
        return
    features = torch.arange(layer.query.out_features).view(layer.heads, layer.head_size)
    kept = features[list(heads)].flatten()
    for projection in (layer.query, layer.key, layer.value):
        _keep_outputs(projection, kept)
    _keep_inputs(layer.attention_output, kept)
    layer.update_head_count()


def keep_neurons(layer: Layer, neurons: Sequence[int]) -> None:
    """Remove all but the feed-forward neurons ``neurons`` (ascending) of ``layer``, in place."""
    if len(neurons) == layer.neurons:
        return
    kept = torch.tensor(neurons)
    _keep_outputs(layer.ffn_in, kept)
    _keep_inputs(layer.ffn_out, kept)


def _keep_outputs(linear: nn.Linear, kept: Tensor) -> None:
    kept = kept.to(linear.weight.device)
    linear.weight = _parameter_like(linear.weight, linear.weight.detach().index_select(0, kept))
    linear.bias = _parameter_like(linear.bias, linear.bias.detach().index_select(0, kept))
    linear.out_features = len(kept)


def _keep_inputs(linear: nn.Linear, kept: Tensor) -> None:
    kept = kept.to(linear.weight.device)
    linear.weight = _parameter_like(linear.weight, linear.weight.detach().index_select(1, kept))
    linear.in_features = len(kept)


def _pad_rows(tensor: Tensor, *, rows: int) -> Tensor:
    return torch.cat([tensor.detach(), tensor.new_zeros(rows, *tensor.shape[1:])])


def _parameter_like(old: Tensor, data: Tensor) -> nn.Parameter:
    return nn.Parameter(data.contiguous(), requires_grad=old.requires_grad)


def _update_config(model: PreTrainedModel, ffn_size: str, layers: Sequence[Layer]) -> None:
    model.config.num_hidden_layers = len(layers)
    sizes = {layer.neurons for layer in layers}
    if len(sizes) == 1:
        setattr(model.config, ffn_size, sizes.pop())
