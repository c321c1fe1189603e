"""The drift reference: a small fixed workload, timed close to each measurement.

The speed of a machine changes from minute to minute. A speed in units of this workload, timed in
the same minutes, is comparable with one measured at another time (docs/measurement.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch.nn import functional

from autotune.measure.clock import now
from autotune.measure.memory import excluded_from_peak

HIDDEN = 384
"""The hidden size of MiniLM. On a CPU one call takes 50 to 100 ms, mostly in kernels of
training.
"""

_SHAPES = {"cpu": (4, 64, HIDDEN, 2), "accelerator": (32, 128, 1024, 8)}
"""Batch size, length, hidden size and repetitions of one call, by kind of device."""


@dataclass
class ReferenceWorkload:
    """The forward and backward pass of one encoder layer in fp32, on one thread.

    It is independent of the trial: no dropout, no precision setting, constant sizes. So its time
    depends on the machine only. :attr:`seconds` holds all timings after the first call, which fills
    caches and is kept in :attr:`warmup`.
    """

    device: torch.device
    seconds: list[float] = field(default_factory=list)
    warmup: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        batch, length, hidden, self._repeats = _SHAPES[
            "cpu" if self.device.type == "cpu" else "accelerator"
        ]
        generator = torch.Generator().manual_seed(0)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator).mul_(0.02)

        sizes = ((3 * hidden, hidden), (hidden, hidden), (4 * hidden, hidden), (hidden, 4 * hidden))
        self._tensors = [random(batch, length, hidden), *(random(*size) for size in sizes)]
        self._heads = hidden // 32

    def measure(self, times: int = 1) -> None:
        """Time ``times`` calls. The first use adds a warm-up call."""
        is_cpu = self.device.type == "cpu"
        with _fixed_arithmetic(), nullcontext() if is_cpu else excluded_from_peak():
            # On an accelerator the tensors are there during the calls only: its memory is measured.
            tensors = [tensor.to(self.device).requires_grad_() for tensor in self._tensors]
            if not self.warmup:
                self.warmup.append(self._time_call(tensors))
            self.seconds.extend(self._time_call(tensors) for _ in range(times))
            del tensors

    def discard(self) -> None:
        """Move all timings to those of the warm-up."""
        self.warmup.extend(self.seconds)
        self.seconds.clear()

    def _time_call(self, tensors: list[torch.Tensor]) -> float:
        start = now(self.device)
        for _ in range(self._repeats):
            torch.autograd.grad(self._loss(tensors), tensors)
        return now(self.device) - start

    def _loss(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        x, qkv, output, widen, narrow = tensors
        batch, length, hidden = x.shape
        parts = functional.linear(x, qkv).view(batch, length, 3, self._heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v)
        attended = attended.transpose(1, 2).reshape(batch, length, hidden)
        x = functional.layer_norm(x + functional.linear(attended, output), (hidden,))
        inner = functional.gelu(functional.linear(x, widen))
        return functional.layer_norm(x + functional.linear(inner, narrow), (hidden,)).square().sum()


@contextmanager
def _fixed_arithmetic() -> Iterator[None]:
    """One thread and full fp32 precision; restores the settings of the trial afterwards."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
