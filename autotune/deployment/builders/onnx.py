"""The ONNX graph of a trained model, which ONNX Runtime, OpenVINO and TensorRT read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import torch

from autotune.deployment import trained_model
from autotune.deployment.artifact import GRAPH_CACHE_SUFFIX
from autotune.deployment.runtimes.torch_outputs import LogitsModel
from autotune.domain.text import one_line, shorten
from autotune.errors import Unsupported

OPSET = 20
"""The first with an operator for GELU."""

EXAMPLE_SHAPE = (2, 8)


def onnx_graph(model: Path, names: tuple[str, ...]) -> Path:
    """The file of the graph in fp32, whose inputs are ``names`` and whose output is ``logits``. It
    is made on first use.

    Raises :class:`Unsupported` if the model cannot be exported.
    """
    path = model.with_name(model.name + GRAPH_CACHE_SUFFIX)
    weights = model / trained_model.WEIGHTS
    if not path.exists() or path.stat().st_mtime_ns < weights.stat().st_mtime_ns:
        temporary = path.with_name(f".{path.name}.{uuid4().hex}")
        try:
            _export(model, names, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def _export(model: Path, names: tuple[str, ...], path: Path) -> None:
    # Without fused attention the graph has no operators that quantization does not know.
    module = LogitsModel(trained_model.load(model, attention="eager"), names).eval()
    longest = trained_model.read_facts(model).max_length
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=longest)}
    # One tensor for each input: the exporter takes one that occurs twice for a single input.
    examples = tuple(torch.ones(EXAMPLE_SHAPE, dtype=torch.long) for _ in names)
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                examples,
                input_names=list(names),
                output_names=["logits"],
                # One entry for the variadic argument of the module.
                dynamic_shapes=((axes,) * len(names),),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise Unsupported(
            f"the model cannot be exported to ONNX: {shorten(one_line(error), 300)}",
            hint="deploy it with runtime: torch",
        ) from error
    assert program is not None
    program.save(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress what the exporter says about packages that are not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
