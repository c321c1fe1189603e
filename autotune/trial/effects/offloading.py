"""Lever ``offload: optimizer``: states in host memory, and the step taken there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class HostOptimizer(Optimizer):
    """Steps copies of the weights in host memory, and copies them back.

    The device keeps weights and gradients, the host the optimizer's states and a second copy of the
    weights. ``build`` makes the optimizer that does the work, from the copies.
    """

    def __init__(
        self,
        weights: list[nn.Parameter],
        build: Callable[[list[nn.Parameter]], Optimizer],
    ) -> None:
        self._copies = [nn.Parameter(w.detach().to("cpu", copy=True)) for w in weights]
        self._inner = build(self._copies)
        super().__init__(weights, {"lr": self._inner.param_groups[0]["lr"]})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self._inner.param_groups:
            group["lr"] = self.param_groups[0]["lr"]
        weights = self.param_groups[0]["params"]
        for weight, copy in zip(weights, self._copies, strict=True):
            copy.grad = None if weight.grad is None else weight.grad.to("cpu")
        self._inner.step()
        for weight, copy in zip(weights, self._copies, strict=True):
            weight.copy_(copy)
            copy.grad = None
