"""The runtime ``tensorrt``, on an NVIDIA GPU. torch holds the memory of the arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorrt
import torch
from numpy.typing import NDArray

from autotune.deployment.artifact import Artifact
from autotune.deployment.inputs import Arrays
from autotune.deployment.predictor import Session
from autotune.errors import Unsupported

ENGINE = "model.engine"
OUTPUT = "logits"


@contextmanager
def open_session(folder: Path, artifact: Artifact, threads: int | None) -> Iterator[Session]:
    """Load the engine. ``threads`` has no effect: the GPU computes.

    Raises :class:`Unsupported` without a GPU, and for an engine of another GPU or version.
    """
    if not torch.cuda.is_available():
        raise Unsupported("runtime: tensorrt needs an NVIDIA GPU")
    runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine((folder / ENGINE).read_bytes())
    if engine is None:
        raise Unsupported(f"{folder / ENGINE} was built for another GPU or version of TensorRT")
    context = engine.create_execution_context()
    stream = torch.cuda.Stream()

    def run(arrays: Arrays) -> NDArray[Any]:
        tensors = {name: torch.from_numpy(array).cuda() for name, array in arrays.items()}
        for name, tensor in tensors.items():
            context.set_input_shape(name, tuple(tensor.shape))
            context.set_tensor_address(name, tensor.data_ptr())
        output = torch.empty(tuple(context.get_tensor_shape(OUTPUT)), device="cuda")
        context.set_tensor_address(OUTPUT, output.data_ptr())
        stream.wait_stream(torch.cuda.current_stream())  # the copies of the inputs
        context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        result: NDArray[Any] = output.cpu().numpy()
        return result

    yield run
