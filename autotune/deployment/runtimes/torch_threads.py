"""The number of threads of torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autotune.deployment.runtimes.threads import count_threads


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run a block on ``threads`` threads (``None``: all cores of the process)."""
    before = torch.get_num_threads()
    torch.set_num_threads(count_threads(threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)
