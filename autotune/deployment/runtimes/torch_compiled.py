"""The runtime ``torch-compiled``: a package that TorchInductor has compiled ahead of time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from autotune.deployment.artifact import Artifact
from autotune.deployment.inputs import Arrays
from autotune.deployment.predictor import Session
from autotune.deployment.runtimes.torch_threads import torch_threads

PACKAGE = "model.pt2"


@contextmanager
def open_session(folder: Path, artifact: Artifact, threads: int | None) -> Iterator[Session]:
    """Load the package, to run on ``threads`` threads (``None``: all cores of the process)."""
    compiled = torch._inductor.aoti_load_package(str(folder / PACKAGE))

    def run(arrays: Arrays) -> NDArray[Any]:
        inputs = [torch.from_numpy(arrays[name]) for name in artifact.inputs]
        with torch.inference_mode():
            output: NDArray[Any] = compiled(*inputs).numpy()
            return output

    with torch_threads(threads):
        yield run
