"""Lever ``offload: optimizer``: optimizer states and optimizer step in host memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class HostOptimizer(Optimizer):
    """Updates copies of the weights in host memory, then copies them to the device.

    The device stores weights and gradients, the host the optimizer states and a second copy of the
    weights. ``build`` creates the wrapped optimizer over the copies.
    """

    def __init__(
        self,
        weights: list[nn.Parameter],
        build: Callable[[list[nn.Parameter]], Optimizer],
    ) -> None:
        self._copies = [nn.Parameter(w.detach().to("cpu", copy=True)) for w in weights]
        self.host_optimizer = build(self._copies)
        super().__init__(weights, {"lr": self.host_optimizer.param_groups[0]["lr"]})

    @torch.no_grad()
    def copy_weights(self) -> None:
        """Set the copies to the weights, after these have been restored."""
        for weight, copy in zip(self.param_groups[0]["params"], self._copies, strict=True):
            copy.copy_(weight)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.host_optimizer.param_groups:
            group["lr"] = self.param_groups[0]["lr"]
        weights = self.param_groups[0]["params"]
        for weight, copy in zip(weights, self._copies, strict=True):
            copy.grad = None if weight.grad is None else weight.grad.to("cpu")
        self.host_optimizer.step()
        for weight, copy in zip(weights, self._copies, strict=True):
            weight.copy_(copy)
            copy.grad = None
