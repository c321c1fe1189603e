"""Lever ``quantization_aware``: train with the rounding errors of int8.

Jacob and others, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (2018). In training, linear layers round their weights and inputs
as dynamic quantization does with one text at a time, and gradients pass the rounding unchanged
(straight-through estimator). In eval mode they do not round: evaluation, the saved weights and all
that is made of them are those of an ordinary model.
"""

from __future__ import annotations

from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn import functional

from autotune.hardware import int8_saturates

WEIGHT_LIMIT = 64 if int8_saturates() else 127
"""Weights are rounded to whole numbers from minus this to this, times a scale: to 7 bits where
those of the deployed model have 7."""

INPUT_STEPS = 255
"""Inputs are rounded to one of this many steps above the least one."""

MIN_SCALE = torch.finfo(torch.float32).tiny
"""Scales of tensors that are zero everywhere."""


def add_rounding(model: nn.Module) -> None:
    """Make all linear layers of ``model`` round in training, in place.

    The layers keep their type, parameters and names: only their ``forward`` is replaced. Call it
    when the layers are final; copies of the model round too.
    """
    for linear in (module for module in model.modules() if type(module) is nn.Linear):
        linear.forward = MethodType(_forward, linear)  # type: ignore[method-assign]


def _forward(linear: nn.Linear, inputs: Tensor) -> Tensor:
    weight = linear.weight
    if linear.training:
        inputs, weight = round_inputs(inputs), round_weight(weight)
    return functional.linear(inputs, weight, linear.bias)


def round_weight(weight: Tensor) -> Tensor:
    """``weight`` (``[outputs, inputs]``) rounded to int8, with a scale for each output. Zero stays
    zero."""
    values = weight.detach().float()
    scales = (values.abs().amax(dim=1, keepdim=True) / WEIGHT_LIMIT).clamp(min=MIN_SCALE)
    steps = (values / scales).round().clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT)
    return _pass_gradients(steps * scales, weight)


def round_inputs(inputs: Tensor) -> Tensor:
    """``inputs`` (``[rows, ...]``) rounded to 8 bits between the least and the greatest value of
    each row, or zero. A row is an example with its padding."""
    values = inputs.detach().flatten(1).float()
    low = values.amin(dim=1, keepdim=True).clamp(max=0.0)
    high = values.amax(dim=1, keepdim=True).clamp(min=0.0)
    scales = ((high - low) / INPUT_STEPS).clamp(min=MIN_SCALE)
    zero_points = (-low / scales).round()
    steps = ((values / scales).round() + zero_points).clamp(0, INPUT_STEPS)
    return _pass_gradients(((steps - zero_points) * scales).view_as(inputs), inputs)


def _pass_gradients(rounded: Tensor, exact: Tensor) -> Tensor:
    """``rounded``, whose gradients are those of ``exact``: their difference is 0, or NaN if one is
    not finite, so that a training that diverges ends as one without rounding."""
    return rounded.to(exact.dtype) + (exact - exact.detach())
