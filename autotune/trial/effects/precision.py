"""Lever ``precision``: the arithmetic that a model is trained and run in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from autotune.errors import Unsupported

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """One of ``fp32 tf32 bf16 bf16-pure fp16`` on one device.

    ``bf16`` and ``fp16`` keep fp32 weights and cast them for matrix products (autocast);
    ``bf16-pure`` keeps weights, gradients and optimizer states in bf16. Its updates are rounded to
    8 bits of mantissa, so updates far smaller than a weight are lost: it wants higher rates. With
    ``on_host_too``, parts of the model are on the CPU, which casts for ``bf16`` as the device does.
    """

    def __init__(self, name: str, device: torch.device, *, on_host_too: bool = False) -> None:
        if name in ("tf32", "fp16") and device.type != "cuda":
            raise Unsupported(f"precision {name} needs a CUDA GPU, not {device}")
        self.name = name
        self._devices = {device.type, "cpu"} if on_host_too and name == "bf16" else {device.type}
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

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """The context to run the model in. Weights are cast once for as long as it is open."""
        with ExitStack() as contexts:
            if self.name in AUTOCAST:
                for kind in sorted(self._devices):
                    contexts.enter_context(torch.autocast(kind, AUTOCAST[self.name]))
            yield
