"""The drift reference: a small fixed piece of work, timed beside whatever is measured.

Machines get faster and slower by the minute. A speed in units of this workload, timed in the same
minutes, can be compared with one measured at another hour (docs/measurement.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch.nn import functional

from autotune.measure.clock import now

HIDDEN = 384
"""As MiniLM: on a CPU one call takes 50 to 100 ms, most of it in the kernels that training uses."""

_SHAPES = {"cpu": (4, 64, HIDDEN, 2), "accelerator": (32, 128, 1024, 8)}
"""Batch, length, hidden size and repetitions of one call, by kind of device."""


@dataclass
class ReferenceWorkload:
    """The forward and backward pass of one encoder layer in fp32, on one thread.

    It knows nothing of the trial: no dropout, no precision setting, sizes that never change, so
    that its time tells of the machine alone. :attr:`seconds` holds all timings after the first
    call, which warms caches up and is kept in :attr:`warmup`.
    """

    device: torch.device
    seconds: list[float] = field(default_factory=list)
    warmup: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        batch, length, hidden, self._repeats = _SHAPES[
            "cpu" if self.device.type == "cpu" else "accelerator"
        ]
        source = torch.Generator().manual_seed(0)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=source).mul_(0.02).to(self.device)

        self._input = random(batch, length, hidden).requires_grad_()
        sizes = ((3 * hidden, hidden), (hidden, hidden), (4 * hidden, hidden), (hidden, 4 * hidden))
        self._weights = [random(*size).requires_grad_() for size in sizes]
        self._heads = hidden // 32

    def measure(self, times: int = 1) -> None:
        """Time ``times`` calls, and before the very first one a call to warm up."""
        with _plain_arithmetic():
            if not self.warmup:
                self.warmup.append(self._timed())
            self.seconds.extend(self._timed() for _ in range(times))

    def _timed(self) -> float:
        begun = now(self.device)
        for _ in range(self._repeats):
            torch.autograd.grad(self._loss(), [self._input, *self._weights])
        return now(self.device) - begun

    def _loss(self) -> torch.Tensor:
        qkv, output, widen, narrow = self._weights
        x, (batch, length, hidden) = self._input, self._input.shape
        parts = functional.linear(x, qkv).view(batch, length, 3, self._heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v)
        attended = attended.transpose(1, 2).reshape(batch, length, hidden)
        x = functional.layer_norm(x + functional.linear(attended, output), (hidden,))
        inner = functional.gelu(functional.linear(x, widen))
        return functional.layer_norm(x + functional.linear(inner, narrow), (hidden,)).square().sum()


@contextmanager
def _plain_arithmetic() -> Iterator[None]:
    """One thread and full fp32, whatever the trial has set; its settings come back afterwards."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
