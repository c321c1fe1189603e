"""The runtime ``torch``: PyTorch without compilation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from autotune.deployment import trained_model
from autotune.deployment.artifact import Artifact
from autotune.deployment.inputs import MASK, Arrays
from autotune.deployment.predictor import Session
from autotune.deployment.runtimes.torch_outputs import logits
from autotune.deployment.runtimes.torch_threads import torch_threads

DTYPES = {"none": torch.float32, "bf16": torch.bfloat16}


@contextmanager
def open_session(folder: Path, artifact: Artifact, threads: int | None) -> Iterator[Session]:
    """Load the weights and run them on ``threads`` threads."""
    model = trained_model.load(folder)
    model.to(DTYPES[artifact.quantization])  # type: ignore[arg-type]
    with torch_threads(threads):
        yield _session(model)


def _session(model: PreTrainedModel) -> Session:
    def run(arrays: Arrays) -> NDArray[Any]:
        # Attention is faster without a mask than with one of ones.
        if arrays[MASK].all():
            arrays = {name: array for name, array in arrays.items() if name != MASK}
        with torch.inference_mode():
            outputs = model(**{name: torch.from_numpy(array) for name, array in arrays.items()})
            return logits(outputs).float().numpy()

    return run
