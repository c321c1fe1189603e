"""Levers ``optimizer``, ``learning_rate``, ``learning_rate_scaling`` and ``gradient_clip``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from transformers import PreTrainedModel
from transformers.optimization import Adafactor

from autotune.domain import Strategy
from autotune.domain.training import peak_learning_rate
from autotune.errors import UsageError
from autotune.trial.effects.offloading import HostOptimizer
from autotune.trial.effects.parameter_groups import ParameterGroup, parameter_groups
from autotune.trial.effects.precision import Precision

MAX_GRADIENT_NORM = 1.0
"""Trainer's default."""

ClipGradients = Callable[[list[Tensor], float], object]
"""Clips the gradients of parameters to a norm in place."""


def clip_gradients(parameters: list[Tensor], max_norm: float) -> None:
    """Clip gradients that are complete in this process."""
    nn.utils.clip_grad_norm_(parameters, max_norm)


def clip_for_step(optimizer: Any, parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Clip gradients for the next step of ``optimizer``; return their norm before clipping.

    The fused AdamW divides gradients by a scale while it reads them. Clipping through that scale
    saves a pass over all gradients. With parameters on several devices, it would reach the CPU too
    late: the copy from a GPU does not wait.
    """
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    if not _is_fused(optimizer) or len({parameter.device for parameter in parameters}) > 1:
        return nn.utils.clip_grad_norm_(parameters, max_norm)
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    optimizer.grad_scale = ((norm.float() + 1e-6) / max_norm).clamp(min=1.0)
    return norm


def _is_fused(optimizer: Any) -> bool:
    return isinstance(optimizer, AdamW) and bool(optimizer.defaults["fused"])


def optimizer_settings(name: str, rate: float) -> tuple[type[Optimizer], dict[str, Any]]:
    """The class of optimizer ``name`` and its arguments. Parameter groups have the weight decay.

    Adafactor uses the given rate (``scale_parameter`` and ``relative_step`` are off), as in
    Trainer.
    """
    if name in ("adamw", "adamw-fused"):
        # None lets torch choose its batched implementation where it is faster (not on a CPU).
        fused = True if name == "adamw-fused" else None
        settings = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "fused": fused}
        return AdamW, {"lr": rate, **settings}
    if name == "sgd":
        return SGD, {"lr": rate, "momentum": 0.9}
    if name == "adafactor":
        return Adafactor, {"lr": rate, "scale_parameter": False, "relative_step": False}
    raise UsageError(f"unknown optimizer {name!r}", hint="use adamw, adamw-fused, sgd or adafactor")


def build_for_strategy(strategy: Strategy, model: PreTrainedModel) -> Optimizer:
    """The strategy's optimizer over an unsharded model, in host memory with ``offload``."""
    groups = parameter_groups(strategy, model)
    if strategy["offload"] != "optimizer":
        return build_grouped_optimizer(strategy, groups)
    return HostOptimizer(groups, lambda copies: build_grouped_optimizer(strategy, copies))


def build_grouped_optimizer(strategy: Strategy, groups: list[ParameterGroup]) -> Optimizer:
    """The strategy's optimizer over ``groups``."""
    rate = peak_learning_rate(strategy)
    optimizer_class, settings = optimizer_settings(str(strategy["optimizer"]), rate)
    return optimizer_class(groups, **settings)


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def take_step(
    optimizer: Optimizer,
    precision: Precision,
    rate: float,
    max_norm: float = MAX_GRADIENT_NORM,
    clip: ClipGradients = clip_gradients,
) -> None:
    """Clip the gradients, take one optimizer step at learning rate ``rate``, clear the gradients.

    ``max_norm`` is the lever ``gradient_clip``; 0 does not clip. ``clip`` replaces the default
    clipping where gradients are sharded over processes.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1.0)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    scaler = precision.scaler
    if scaler is not None:
        scaler.unscale_(optimizer)
        if max_norm > 0:
            clip(parameters, max_norm)
        scaler.step(optimizer)
        scaler.update()
    else:
        if max_norm > 0 and clip is clip_gradients:
            clip_for_step(optimizer, parameters, max_norm)
        elif max_norm > 0:
            clip(parameters, max_norm)
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
