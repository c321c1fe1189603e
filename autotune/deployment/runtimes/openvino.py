"""The runtime ``openvino``, on the CPU. Exported folders contain a copy of this module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openvino
from numpy.typing import NDArray

from autotune.deployment.artifact import Artifact
from autotune.deployment.inputs import Arrays
from autotune.deployment.predictor import Session
from autotune.deployment.runtimes.threads import count_threads

GRAPH = "model.xml"

PRECISIONS = {"none": "f32", "bf16": "bf16", "fp16": "f16", "int8-static": "f32"}
"""The type of floating-point operations by quantization. The library chooses bf16 by itself where
the processor has it, so that the type is always set."""


@contextmanager
def open_session(folder: Path, artifact: Artifact, threads: int | None) -> Iterator[Session]:
    """Load the graph, to run on ``threads`` threads (``None``: all cores of the process)."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",  # one request at a time, on all threads
        "INFERENCE_PRECISION_HINT": PRECISIONS[artifact.quantization],
        "INFERENCE_NUM_THREADS": count_threads(threads),
    }
    model = openvino.Core().compile_model(folder / GRAPH, "CPU", settings)
    request = model.create_infer_request()

    def run(arrays: Arrays) -> NDArray[Any]:
        output: NDArray[Any] = request.infer(arrays)[0].copy()
        return output

    yield run
