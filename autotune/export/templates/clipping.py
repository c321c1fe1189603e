"""Gradients no longer than 1, as in the trial."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW

MAX_GRADIENT_NORM = 1.0


def clip(
    optimizer: Any, parameters: Iterable[Tensor], longest: float = MAX_GRADIENT_NORM
) -> Tensor:
    """Shorten gradients to ``longest`` in the coming step of ``optimizer``; returns their length.

    The fused AdamW divides gradients by a given scale while it reads them: clipping through that
    door saves a pass over all gradients.
    """
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    if not (isinstance(optimizer, AdamW) and optimizer.defaults["fused"]):
        return nn.utils.clip_grad_norm_(parameters, longest)
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    scale: Any = ((norm.float() + 1e-6) / longest).clamp(min=1.0)
    optimizer.grad_scale = scale  # type: ignore[attr-defined]
    return norm
