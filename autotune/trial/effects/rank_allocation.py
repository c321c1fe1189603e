"""Setting ``adalora`` of the lever ``adapter``: peft's AdaLoRA, which moves ranks between matrices.

Each update is a product of singular vectors and singular values. After each step, the least
important singular values of all matrices are set to zero, until the given rank is left on average:
Zhang et al. (2023), "Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from autotune.domain.training import ADALORA_INITIAL_RANKS

if TYPE_CHECKING:
    from peft import AdaLoraModel

WARMUP_SHARE, FINAL_SHARE, ALLOCATIONS = 0.1, 0.3, 100
"""Shares of the steps before the first allocation and after the last one, and their number."""

MIN_STEPS = 2
"""Fewer steps have no importance to allocate by."""

ADAPTER = "default"
PARTS = ("exp_avg_ipt", "exp_avg_unc")
"""Averages of importance and of its uncertainty in peft's allocator."""


class RankAllocation:
    """The ranks of the adapter of a model, which change while it trains."""

    def __init__(self, tuner: AdaLoraModel) -> None:
        from peft.tuners.adalora import AdaLoraLayer

        self._tuner, self._step = tuner, 0
        self._config = tuner.peft_config[ADAPTER]
        self._hook: RemovableHandle | None = None
        layers = [module for module in tuner.modules() if isinstance(module, AdaLoraLayer)]
        self._right = [layer.lora_A[ADAPTER] for layer in layers]
        self._left = [layer.lora_B[ADAPTER] for layer in layers]

    def penalty(self) -> Tensor:
        """The part of the loss that keeps singular vectors orthogonal, as peft's model adds it."""
        products = [v @ v.T for v in self._right] + [v.T @ v for v in self._left]
        identity = torch.eye(len(products[0])).to(products[0])
        norms = [torch.linalg.matrix_norm(product - identity) for product in products]
        mean: Tensor = self._config.orth_reg_weight * torch.stack(norms).mean()
        return mean

    def allocate_after_step(self, optimizer: Optimizer, steps: int) -> None:
        """Allocate ranks after each step of ``optimizer``, of ``steps`` in the whole run. A second
        call replaces the first one."""
        if self._hook is not None:
            self._hook.remove()
        self._config.total_step = steps
        self._config.tinit = math.floor(WARMUP_SHARE * steps)
        self._config.tfinal = math.floor(FINAL_SHARE * steps)
        self._config.deltaT = max(1, steps // ALLOCATIONS)
        if steps >= MIN_STEPS:
            self._hook = optimizer.register_step_post_hook(self._allocate)

    def _allocate(self, *arguments: Any) -> None:
        self._step += 1
        self._tuner.update_and_allocate(self._step)

    # --------------------------------------------------------------------------------- checkpoints

    def capture_state(self) -> dict[str, Tensor]:
        """The step, the averages of importance and the remaining ranks, by name."""
        allocator = self._tuner.rankallocator
        tensors = {"step": torch.tensor(self._step)}
        for part in PARTS:
            tensors |= {f"{part}:{name}": t for name, t in getattr(allocator, part).items()}
        pattern: Mapping[str, Sequence[bool]] = self._config.rank_pattern or {}
        return tensors | {f"pattern:{name}": torch.tensor(p) for name, p in pattern.items()}

    def restore_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the state to what :meth:`capture_state` returned."""
        device = self._right[0].device
        self._step = int(tensors["step"])
        for part in PARTS:
            averages = {n: t.to(device) for n, t in _with_prefix(tensors, f"{part}:").items()}
            setattr(self._tuner.rankallocator, part, averages)
        # The allocator starts new averages for weights that have no importance of a step.
        self._tuner.rankallocator.ipt = dict(self._tuner.rankallocator.exp_avg_ipt)
        pattern = {n: t.tolist() for n, t in _with_prefix(tensors, "pattern:").items()}
        self._config.rank_pattern = pattern or None


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def add_allocated_adapter(
    model: PreTrainedModel, rank: int, alpha: int, targets: list[str]
) -> RankAllocation:
    """Add adapters that keep ``rank`` singular values on average to the modules ``targets``."""
    from peft import AdaLoraConfig, AdaLoraModel

    config = AdaLoraConfig(
        target_r=rank,
        init_r=math.ceil(ADALORA_INITIAL_RANKS * rank),
        lora_alpha=alpha,
        target_modules=targets,
        total_step=MIN_STEPS,  # allocate_after_step sets the schedule
    )
    return RankAllocation(AdaLoraModel(model, config, ADAPTER))
