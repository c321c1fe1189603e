"""Importance scores of attention heads and feed-forward neurons.

All scores return one number per head and per neuron of each layer; higher is more important.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from autotune.errors import DataError, NanLoss, Unsupported
from autotune.trial.encoder import Layer, encoder_of

Batches = Iterable[Mapping[str, Tensor]]
"""Training batches as model arguments, with ``labels``; on any device."""


BatchLoss = Callable[[PreTrainedModel, Mapping[str, Tensor]], Tensor]
"""The mean loss of a model for one of :data:`Batches`."""


@dataclass(frozen=True)
class LayerScores:
    """Importances within one layer: ``heads`` of shape (heads,), ``neurons`` of (neurons,)."""

    heads: Tensor
    neurons: Tensor


def magnitude_scores(model: PreTrainedModel) -> list[LayerScores]:
    """L2 norm of the input weights of a unit times that of its output weights.

    The product bounds the unit's contribution, which is zero if either norm is.
    """
    return [_magnitude(layer) for layer in encoder_of(model).layers]


def _magnitude(layer: Layer) -> LayerScores:
    heads = (layer.heads, -1)
    with torch.no_grad():
        value = layer.value.weight.float().reshape(heads).norm(dim=1)
        output = layer.attention_output.weight.float().t().reshape(heads).norm(dim=1)
        ffn_in = layer.ffn_in.weight.float().norm(dim=1)
        ffn_out = layer.ffn_out.weight.float().norm(dim=0)
        return LayerScores(heads=value * output, neurons=ffn_in * ffn_out)


def loss_of_labels(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Tensor:
    """The loss that ``model`` itself computes for ``batch``.

    Raises :class:`~autotune.errors.Unsupported` if it computes none.
    """
    arguments: dict[str, Any] = {name: t.to(model.device) for name, t in batch.items()}
    loss: Tensor | None = model(**arguments).loss
    if loss is None:
        raise Unsupported(
            f"{type(model).__name__} returns no loss for labels, which pruning needs",
            hint="set pruning_score: magnitude and pruning_schedule: one-shot, or return a loss",
        )
    return loss


def taylor_scores(
    model: PreTrainedModel, batches: Batches, loss: BatchLoss = loss_of_labels
) -> list[LayerScores]:
    """First-order change of the loss if a unit were switched off, per sample, summed over samples.

    With a gate of 1 on each unit's output ``x``, this is ``|d loss / d gate| = |sum(x * dL/dx)|``
    over the tokens of a sample (Molchanov et al. 2017; Michel et al. 2019 for heads), which equals
    the sum of ``w * dL/dw`` over the weights that read the unit. Dropout is off while scoring; the
    model's mode and its parameters' gradients are not changed.

    Raises :class:`~autotune.errors.DataError` without a batch, :class:`~autotune.errors.NanLoss`
    if a score is not finite.
    """
    return _gradient_scores(model, batches, torch.abs, loss)


def fisher_scores(
    model: PreTrainedModel, batches: Batches, loss: BatchLoss = loss_of_labels
) -> list[LayerScores]:
    """Second-order change of the loss of a trained model if a unit were switched off: the square of
    its gate's gradient, summed over samples, which is the diagonal of the empirical Fisher
    information (Kwon et al. 2022). Of units that are switched off together, the scores add up.

    Raises as :func:`taylor_scores`.
    """
    return _gradient_scores(model, batches, torch.square, loss)


def _gradient_scores(
    model: PreTrainedModel,
    batches: Batches,
    measure: Callable[[Tensor], Tensor],
    loss: BatchLoss,
) -> list[LayerScores]:
    """The sum over samples of ``measure`` of the gradient of the gate of each unit."""
    units = [unit for layer in encoder_of(model).layers for unit in _units(layer)]
    training = model.training
    model.eval()
    try:
        scores = _gate_gradients(model, units, batches, measure, loss)
    finally:
        model.train(training)
    return [LayerScores(*pair) for pair in zip(scores[::2], scores[1::2], strict=True)]


Unit = tuple[nn.Linear, int]
"""The Linear whose input the units are, and its number of input features per unit."""


def _units(layer: Layer) -> tuple[Unit, Unit]:
    return (layer.attention_output, layer.head_size), (layer.ffn_out, 1)


def _gate_gradients(
    model: PreTrainedModel,
    units: list[Unit],
    batches: Batches,
    measure: Callable[[Tensor], Tensor],
    loss: BatchLoss,
) -> list[Tensor]:
    sums = [torch.zeros(reader.in_features // size, device=model.device) for reader, size in units]
    num_batches = 0
    for batch in batches:
        num_batches += 1
        with _inputs_of([reader for reader, _ in units]) as inputs, torch.enable_grad():
            gradients = torch.autograd.grad(loss(model, batch), inputs)
        for total, (_, size), x, gradient in zip(sums, units, inputs, gradients, strict=True):
            by_sample = (x.detach().float() * gradient.float()).sum(dim=1)
            total.add_(measure(by_sample.unflatten(1, (-1, size)).sum(dim=2)).sum(dim=0))
    if num_batches == 0:
        raise DataError("scores for pruning need at least one training batch")
    if not all(torch.isfinite(total).all() for total in sums):
        raise NanLoss("the scores for pruning are not finite: the loss or a gradient is not")
    return sums


@contextmanager
def _inputs_of(modules: list[nn.Linear]) -> Iterator[list[Tensor]]:
    """The inputs of each module in the next forward pass, in order of use, requiring gradients."""
    inputs: list[Tensor] = []

    def record(_: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
        (x,) = arguments
        if not x.requires_grad:  # all layers below are frozen
            x = x.detach().requires_grad_()
        inputs.append(x)
        return (x,)

    hooks = [module.register_forward_pre_hook(record) for module in modules]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()
