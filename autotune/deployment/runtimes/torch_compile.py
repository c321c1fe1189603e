"""The runtime ``torch-compile``: PyTorch, compiled ahead of time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import _inductor as inductor

from autotune.deployment.artifact import Artifact
from autotune.deployment.inputs import Arrays
from autotune.deployment.predictor import Session
from autotune.deployment.runtimes.torch_threads import torch_threads

PACKAGE = "model.pt2"


@contextmanager
def open_session(folder: Path, artifact: Artifact, threads: int | None) -> Iterator[Session]:
    """Load the compiled model, to run on ``threads`` threads (``None``: all cores of the
    process)."""
    model = inductor.aoti_load_package(str(folder / PACKAGE))

    def run(arrays: Arrays) -> NDArray[Any]:
        with torch.inference_mode():
            output: torch.Tensor = model(*(torch.from_numpy(arrays[n]) for n in artifact.inputs))
            return output.numpy()

    with torch_threads(threads):
        yield run
