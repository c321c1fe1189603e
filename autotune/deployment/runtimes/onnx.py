"""The runtime ``onnxruntime``, on the CPU. Exported folders contain a copy of this module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from autotune.deployment.artifact import Artifact
from autotune.deployment.inputs import Arrays
from autotune.deployment.predictor import Session
from autotune.deployment.runtimes.threads import count_threads

GRAPH = "model.onnx"

ERRORS_ONLY = 3
"""The severity from which messages of the library are printed."""


@contextmanager
def open_session(folder: Path, artifact: Artifact, threads: int | None) -> Iterator[Session]:
    """Load the graph, to run on ``threads`` threads (``None``: all cores of the process)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count_threads(threads)
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(
        str(folder / GRAPH), options, providers=["CPUExecutionProvider"]
    )

    def run(arrays: Arrays) -> NDArray[Any]:
        output: NDArray[Any] = session.run(None, arrays)[0]
        return output

    yield run
