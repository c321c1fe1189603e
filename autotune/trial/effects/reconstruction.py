"""Repairs a pruned encoder without training: its layers reproduce those of the complete one.

The matrices that read the remaining heads and neurons are fitted by least squares, one after the
other from below, so that the sum of each with its residual connection is that of the complete
model on examples of the task. It generalises the mask tuning of Kwon and others (2022), which fits
one factor for each unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from autotune.trial.encoder import Layer, encoder_of

RIDGE = 0.03
"""Penalty of the change of weights, relative to the mean square of their inputs."""


@dataclass
class LayerInput:
    """The arguments of a layer for one batch. ``tokens`` selects those that are not padding of the
    flattened batch."""

    states: Tensor
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    tokens: Tensor

    def run(self, module: nn.Module) -> Tensor:
        """The output of ``module`` for the batch."""
        output = module(self.states, *self.arguments, **self.options)
        return output[0] if isinstance(output, tuple) else output

    def select(self, states: Tensor) -> Tensor:
        """The states of the tokens: ``[tokens, size]``."""
        return states.flatten(0, 1)[self.tokens]


@torch.no_grad()
def reconstruct(
    pruned: PreTrainedModel, complete: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]]
) -> None:
    """Fit the weights of ``pruned``, in place, to the layers of ``complete``, which has as many.
    ``batches`` are arguments of the model without labels."""
    own, other = encoder_of(pruned), encoder_of(complete)
    batches = list(batches)
    inputs = [_first_input(pruned, own.module_list[0], batch) for batch in batches]
    targets = [_first_input(complete, other.module_list[0], batch) for batch in batches]
    for index, (layer, unpruned) in enumerate(zip(own.layers, other.layers, strict=True)):
        module, unpruned_module = own.module_list[index], other.module_list[index]
        sums = [_residual_sums(unpruned_module, unpruned, batch) for batch in targets]
        if layer.heads < unpruned.heads:
            _fit(layer.attention_output, module, layer.query, inputs, [s[0] for s in sums])
        if layer.neurons < unpruned.neurons:
            _fit(layer.ffn_out, module, layer.ffn_in, inputs, [s[1] for s in sums])
        for batch in inputs:
            batch.states = batch.run(module)
        for batch in targets:
            batch.states = batch.run(unpruned_module)


def _first_input(
    model: PreTrainedModel, layer: nn.Module, batch: Mapping[str, Tensor]
) -> LayerInput:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    hook = layer.register_forward_pre_hook(
        lambda _, arguments, options: calls.append((arguments, options)), with_kwargs=True
    )
    try:
        model(**batch)
    finally:
        hook.remove()
    (states, *arguments), options = calls[0]
    mask = batch.get("attention_mask")
    tokens = torch.ones(states.shape[:2]) if mask is None else mask
    return LayerInput(states, tuple(arguments), options, tokens.bool().flatten())


def _residual_sums(module: nn.Module, layer: Layer, batch: LayerInput) -> tuple[Tensor, Tensor]:
    """The sums of the outputs of attention and of the neurons with their residual connections:
    the inputs of the two normalizations, ``[tokens, size]`` each."""
    linears = (layer.attention_output, layer.ffn_in, layer.ffn_out)
    with _record_calls(linears) as calls:
        batch.run(module)
    (_, attention), (states, _), (_, neurons) = (calls[linear] for linear in linears)
    return (
        batch.select(attention) + batch.select(batch.states),
        batch.select(neurons) + batch.select(states),
    )


def _fit(
    linear: nn.Linear,
    module: nn.Module,
    first: nn.Linear,
    inputs: Sequence[LayerInput],
    sums: Sequence[Tensor],
) -> None:
    """Set the weights of ``linear`` so that its output and the residual connection, which is the
    input of ``first``, add up to ``sums``."""
    size = linear.in_features
    gram = torch.zeros(size + 1, size + 1, dtype=torch.float64)
    errors = torch.zeros(size + 1, linear.out_features, dtype=torch.float64)
    for batch, target in zip(inputs, sums, strict=True):
        with _record_calls((linear, first)) as calls:
            batch.run(module)
        (x, y), (residual, _) = calls[linear], calls[first]
        features = batch.select(x)
        features = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
        error = target - batch.select(residual) - batch.select(y)
        gram += (features.T @ features).double()
        errors += (features.T @ error).double()
    gram.diagonal().add_(RIDGE * float(gram.diagonal()[:-1].mean()))
    change = torch.linalg.solve(gram, errors).to(linear.weight.dtype)
    linear.weight.add_(change[:-1].T)
    linear.bias.add_(change[-1])


@contextmanager
def _record_calls(linears: Sequence[nn.Linear]) -> Iterator[dict[nn.Linear, tuple[Tensor, Tensor]]]:
    """The input and the output of each layer in the next pass."""
    calls: dict[nn.Linear, tuple[Tensor, Tensor]] = {}

    def record(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Linear)
        calls[module] = (arguments[0], output)

    hooks = [linear.register_forward_hook(record) for linear in linears]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()
