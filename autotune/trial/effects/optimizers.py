"""Levers ``optimizer``, ``learning_rate`` and ``learning_rate_scaling``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from transformers.optimization import Adafactor

from autotune.domain import Strategy
from autotune.errors import UsageError
from autotune.trial.effects.offloading import HostOptimizer
from autotune.trial.effects.precision import Precision

REFERENCE_BATCH = 8
"""The batch size for which a learning rate is meant as it is: Trainer's default."""

MAX_GRADIENT_NORM = 1.0
"""Trainer's default."""


def peak_rate(strategy: Strategy) -> float:
    """The learning rate of the first step, scaled to the batch size."""
    ratio = int(strategy["batch_size"]) / REFERENCE_BATCH
    factors = {"none": 1.0, "sqrt": math.sqrt(ratio), "linear": ratio}
    return float(strategy["learning_rate"]) * factors[str(strategy["learning_rate_scaling"])]


Clip = Callable[[list[Tensor]], object]
"""Shortens the gradients of parameters to :data:`MAX_GRADIENT_NORM`, where they are longer."""


def clip_alone(parameters: list[Tensor]) -> None:
    """Clip gradients that this process has whole."""
    nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)


def choose(name: str, rate: float) -> tuple[type[Optimizer], dict[str, Any]]:
    """The class of optimizer ``name`` and its settings. Weight decay is 0, as in Trainer.

    Adafactor follows the given rate (``scale_parameter`` and ``relative_step`` are off), which is
    how Trainer builds it.
    """
    if name in ("adamw", "adamw-fused"):
        # None lets torch take its batched implementation where it pays (not on a CPU).
        fused = True if name == "adamw-fused" else None
        settings = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "fused": fused}
        return AdamW, {"lr": rate, **settings}
    if name == "sgd":
        return SGD, {"lr": rate, "momentum": 0.9}
    if name == "adafactor":
        return Adafactor, {"lr": rate, "scale_parameter": False, "relative_step": False}
    raise UsageError(f"no optimizer {name!r}", hint="one of adamw, adamw-fused, sgd, adafactor")


def build(name: str, model: nn.Module, rate: float) -> Optimizer:
    """The optimizer over all parameters of ``model`` that are trained."""
    kind, settings = choose(name, rate)
    return kind(trained(model), **settings)


def for_strategy(strategy: Strategy, model: nn.Module, rate: float) -> Optimizer:
    """The strategy's optimizer over a model that this process has whole."""
    name = str(strategy["optimizer"])
    if strategy["offload"] != "optimizer":
        return build(name, model, rate)
    kind, settings = choose(name, rate)
    return HostOptimizer(trained(model), lambda copies: kind(copies, **settings))


def build_by_group(name: str, groups: Sequence[Sequence[Tensor]], rate: float) -> Optimizer:
    """The optimizer over ``groups`` of parameters that its kernels cannot take together."""
    kind, settings = choose(name, rate)
    return kind([{"params": list(group)} for group in groups], **settings)


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def update(
    optimizer: Optimizer, precision: Precision, rate: float, clip: Clip = clip_alone
) -> None:
    """One clipped optimizer step from the gradients as they are, which are then let go.

    The fused AdamW divides gradients by a given scale while it reads them. Clipping through that
    door saves a pass over all gradients. ``clip`` shortens gradients that are spread over several
    processes, who must agree on how long they are.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    scaler = precision.scaler
    if scaler is not None:
        scaler.unscale_(optimizer)
        clip(parameters)
        scaler.step(optimizer)
        scaler.update()
    else:
        if clip is clip_alone and isinstance(optimizer, AdamW) and optimizer.defaults["fused"]:
            optimizer.grad_scale = _excess(parameters)  # type: ignore[attr-defined]
        else:
            clip(parameters)
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _excess(parameters: Iterable[Tensor]) -> Tensor:
    """By what to divide gradients so that they are as long as allowed, at least 1."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    return ((norm.float() + 1e-6) / MAX_GRADIENT_NORM).clamp(min=1.0)
