"""The runtime ``torch``: PyTorch without compilation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from autotune.deployment import trained_model
from autotune.deployment.artifact import Artifact
from autotune.deployment.predictor import Session
from autotune.deployment.runtimes.torch_outputs import model_session
from autotune.deployment.runtimes.torch_threads import torch_threads

DTYPES = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def open_session(folder: Path, artifact: Artifact, threads: int | None) -> Iterator[Session]:
    """Load the weights, to run on ``threads`` threads (``None``: all cores of the process)."""
    model = trained_model.load(folder)
    model.to(DTYPES[artifact.quantization])  # type: ignore[arg-type]
    with torch_threads(threads):
        yield model_session(model)
