"""Levers ``optimizer``, ``learning_rate`` and ``learning_rate_scaling``."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from transformers.optimization import Adafactor

from autotune.domain import Strategy
from autotune.errors import UsageError
from autotune.trial.precision import Precision

REFERENCE_BATCH = 8
"""The batch size for which a learning rate is meant as it is: Trainer's default."""

MAX_GRADIENT_NORM = 1.0
"""Trainer's default."""


def peak_rate(strategy: Strategy) -> float:
    """The learning rate of the first step, scaled to the batch size."""
    ratio = int(strategy["batch_size"]) / REFERENCE_BATCH
    factors = {"none": 1.0, "sqrt": math.sqrt(ratio), "linear": ratio}
    return float(strategy["learning_rate"]) * factors[str(strategy["learning_rate_scaling"])]


def build(name: str, model: nn.Module, rate: float) -> Optimizer:
    """The optimizer over all parameters that are trained. Weight decay is 0, as in Trainer.

    Adafactor follows the given rate (``scale_parameter`` and ``relative_step`` are off), which is
    how Trainer builds it.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if name in ("adamw", "adamw-fused"):
        # None lets torch take its batched implementation where it pays (not on a CPU).
        fused = True if name == "adamw-fused" else None
        return AdamW(trained, lr=rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, fused=fused)
    if name == "sgd":
        return SGD(trained, lr=rate, momentum=0.9)
    if name == "adafactor":
        return Adafactor(trained, lr=rate, scale_parameter=False, relative_step=False)
    raise UsageError(f"no optimizer {name!r}", hint="one of adamw, adamw-fused, sgd, adafactor")


def update(optimizer: Optimizer, precision: Precision, rate: float) -> None:
    """One clipped optimizer step from the gradients as they are, which are then let go.

    The fused AdamW divides gradients by a given scale while it reads them. Clipping through that
    door saves a pass over all gradients.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    scaler = precision.scaler
    if scaler is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        scaler.step(optimizer)
        scaler.update()
    else:
        if isinstance(optimizer, AdamW) and optimizer.defaults["fused"]:
            optimizer.grad_scale = _excess(parameters)  # type: ignore[attr-defined]
        else:
            nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _excess(parameters: Iterable[Tensor]) -> Tensor:
    """By what to divide gradients so that they are as long as allowed, at least 1."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    return ((norm.float() + 1e-6) / MAX_GRADIENT_NORM).clamp(min=1.0)
