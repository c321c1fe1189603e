"""Lever ``precision``: the arithmetic that a model is trained and run in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from autotune.errors import Unsupported

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """One of ``fp32 tf32 bf16 bf16-pure fp16`` on one device.

    ``bf16`` and ``fp16`` keep fp32 weights and cast them for matrix products (autocast);
    ``bf16-pure`` keeps weights, gradients and optimizer states in bf16. Its updates are rounded to
    8 bits of mantissa, so updates far smaller than a weight are lost: it wants higher rates.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name in ("tf32", "fp16") and device.type != "cuda":
            raise Unsupported(f"precision {name} needs a CUDA GPU, not {device}")
        self.name = name
        self._device = device
        self.scaler = GradScaler(device.type) if name == "fp16" else None

    def prepare(self, model: nn.Module) -> None:
        """Cast ``model`` for this arithmetic, in place, and set torch's fp32 products for it.

        Weights that are frozen are cast for autocast once, as it would for every batch: it
        remembers its casts only for weights that are trained.
        """
        torch.set_float32_matmul_precision("high" if self.name == "tf32" else "highest")
        if self.name == "bf16-pure":
            model.to(torch.bfloat16)
        elif self.name in AUTOCAST:
            for linear in (m for m in model.modules() if type(m) is nn.Linear):
                if not linear.weight.requires_grad:
                    linear.to(AUTOCAST[self.name])

    def autocast(self) -> AbstractContextManager[object]:
        """The context to run the model in. Weights are cast once for as long as it is open."""
        if self.name not in AUTOCAST:
            return nullcontext()
        return torch.autocast(self._device.type, AUTOCAST[self.name])
