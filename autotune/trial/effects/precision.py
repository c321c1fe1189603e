"""Lever ``precision``: the number format of training and inference."""

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

    ``bf16`` and ``fp16`` keep fp32 weights and cast them for matrix products (autocast).
    ``bf16-pure`` keeps weights, gradients and optimizer states in bf16. Its updates are rounded to
    8 bits of mantissa, so updates much smaller than a weight are lost: use higher learning rates.
    With ``autocast_cpu``, parts of the model are on the CPU, where ``bf16`` is autocast too.
    """

    def __init__(self, name: str, device: torch.device, *, autocast_cpu: bool = False) -> None:
        if name in ("tf32", "fp16") and device.type != "cuda":
            raise Unsupported(f"precision {name} requires a CUDA GPU; the device is {device}")
        self.name = name
        self._device_types = (
            {device.type, "cpu"} if autocast_cpu and name == "bf16" else {device.type}
        )
        self.scaler = GradScaler(device.type) if name == "fp16" else None

    def prepare(self, model: nn.Module) -> None:
        """Cast ``model`` in place and set the precision of matrix products.

        Autocast caches casts only of trainable weights. Frozen weights are therefore cast here,
        once instead of for every batch.
        """
        self.set_matmul_precision()
        if self.name == "bf16-pure":
            model.to(torch.bfloat16)
        elif self.name in AUTOCAST:
            for linear in (m for m in model.modules() if type(m) is nn.Linear):
                if not linear.weight.requires_grad:
                    linear.to(AUTOCAST[self.name])

    def set_matmul_precision(self) -> None:
        """Set how exact products of fp32 matrices are."""
        torch.set_float32_matmul_precision("high" if self.name == "tf32" else "highest")

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """The context to run the model in. It casts each weight once while it is open."""
        with ExitStack() as contexts:
            if self.name in AUTOCAST:
                for device_type in sorted(self._device_types):
                    contexts.enter_context(torch.autocast(device_type, AUTOCAST[self.name]))
            yield
