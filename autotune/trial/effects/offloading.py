"""Lever ``offload: optimizer``: optimizer states and optimizer step in host memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from autotune.trial.effects.parameter_groups import ParameterGroup


class HostOptimizer(Optimizer):
    """Updates copies of the weights in host memory, then copies them to the device.

    The device stores weights and gradients, the host the optimizer states and a second copy of the
    weights. ``build`` creates the wrapped optimizer over the copies, in the same groups.
    """

    def __init__(
        self, groups: list[ParameterGroup], build: Callable[[list[ParameterGroup]], Optimizer]
    ) -> None:
        self.host_optimizer = build(
            [{**group, "params": [_host_copy(w) for w in group["params"]]} for group in groups]
        )
        super().__init__(groups, {"lr": self.host_optimizer.param_groups[0]["lr"]})

    @torch.no_grad()
    def copy_weights(self) -> None:
        """Set the copies to the weights, after these have been restored."""
        for weight, copy in self._pairs():
            copy.copy_(weight)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        groups = zip(self.param_groups, self.host_optimizer.param_groups, strict=True)
        for group, host_group in groups:
            host_group["lr"] = group["lr"]
        for weight, copy in self._pairs():
            copy.grad = None if weight.grad is None else weight.grad.to("cpu")
        self.host_optimizer.step()
        for weight, copy in self._pairs():
            weight.copy_(copy)
            copy.grad = None

    def _pairs(self) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
        """Each weight on the device with its copy in host memory."""
        groups = zip(self.param_groups, self.host_optimizer.param_groups, strict=True)
        for group, host_group in groups:
            yield from zip(group["params"], host_group["params"], strict=True)


def _host_copy(weight: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(weight.detach().to("cpu", copy=True))
