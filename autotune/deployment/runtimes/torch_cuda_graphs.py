"""The runtime ``torch-cuda-graphs``: PyTorch on an NVIDIA GPU, with recorded kernels.

A small model waits for the CPU, which starts its kernels one by one. A CUDA graph starts all
kernels of a forward pass at once. It has fixed shapes and fixed memory, so each shape of a batch
has a graph of its own, recorded when it first occurs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from autotune.deployment import trained_model
from autotune.deployment.artifact import Artifact
from autotune.deployment.inputs import MASK, Arrays
from autotune.deployment.predictor import Session
from autotune.deployment.runtimes.torch_eager import DTYPES
from autotune.deployment.runtimes.torch_outputs import logits
from autotune.errors import Unsupported

MAX_GRAPHS = 256
"""Graphs that are kept. A batch of a further shape runs without one."""

WARMUP_CALLS = 3
"""Calls before a graph is recorded, in which libraries choose kernels and allocate memory."""

Tensors = Mapping[str, Tensor]
Forward = Callable[[Tensors], Tensor]


@contextmanager
def open_session(folder: Path, artifact: Artifact, threads: int | None) -> Iterator[Session]:
    """Load the weights onto the first GPU. ``threads`` has no effect: the GPU computes.

    Raises :class:`Unsupported` without a GPU.
    """
    if not torch.cuda.is_available():
        raise Unsupported("runtime: torch-cuda-graphs needs an NVIDIA GPU")
    model = trained_model.load(folder)
    model.to(device="cuda", dtype=DTYPES[artifact.quantization])  # type: ignore[call-arg]
    yield graph_session(lambda tensors: logits(model(**tensors)).float(), "cuda", graph_recorder())


def graph_session(
    forward: Forward, device: str, record: Callable[[Forward, Tensors], Callable[[], Tensor]]
) -> Session:
    """Runs ``forward`` on ``device`` through the functions that ``record`` returns."""
    graphs: dict[tuple[Any, ...], tuple[Tensors, Callable[[], Tensor]]] = {}

    def run(arrays: Arrays) -> NDArray[Any]:
        # Attention is faster without a mask than with one of ones.
        if arrays[MASK].all():
            arrays = {name: array for name, array in arrays.items() if name != MASK}
        key = tuple((name, array.shape) for name, array in arrays.items())
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with torch.inference_mode():
            if key not in graphs:
                own = {name: tensor.to(device, copy=True) for name, tensor in tensors.items()}
                if len(graphs) >= MAX_GRAPHS:
                    return forward(own).numpy(force=True)
                graphs[key] = own, record(forward, own)
            buffers, replay = graphs[key]
            for name, tensor in tensors.items():
                buffers[name].copy_(tensor)
            return replay().numpy(force=True)

    return run


def graph_recorder() -> Callable[[Forward, Tensors], Callable[[], Tensor]]:
    """Records graphs that share their memory: they run one after the other, and what they return is
    read before the next one."""
    pool, stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()

    def record(forward: Forward, tensors: Tensors) -> Callable[[], Tensor]:
        """A function that runs ``forward`` on the present values of ``tensors``, on the GPU, and
        returns its output, which the next call overwrites."""
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARMUP_CALLS):
                forward(tensors)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream):
            output = forward(tensors)

        def replay() -> Tensor:
            graph.replay()
            return output

        return replay

    return record
