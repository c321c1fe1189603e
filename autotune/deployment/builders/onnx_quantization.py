"""Graphs of ONNX Runtime, with weights of linear layers and embeddings in int8.

``int8-dynamic`` takes the ranges of activations from each batch, ``int8-static`` from
calibration texts. Where sums of products saturate, weights have 7 bits.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from autotune.deployment.artifact import Artifact
from autotune.deployment.builders.calibration import calibration_batches
from autotune.deployment.inputs import Arrays, EncodedText
from autotune.deployment.settings import DeploymentSettings
from autotune.hardware import int8_saturates

OPERATORS = {"all": ["MatMul", "Gemm", "Gather"], "linear": ["MatMul", "Gemm"]}
"""Linear layers and embeddings. Products of two activations, as in attention, stay in fp32: they
have no weights to compress, and lose the most accuracy."""


def quantize(
    graph: Path,
    artifact: Artifact,
    settings: DeploymentSettings,
    path: Path,
    calibration: Sequence[EncodedText],
) -> None:
    """Write ``graph`` in the quantization of ``artifact`` to ``path``."""
    # Of a file, the library would write intermediate results next to it, where others build too.
    shared: dict[str, Any] = {
        "op_types_to_quantize": OPERATORS[settings.quantization_operators],
        "per_channel": settings.quantization_granularity == "channel",
        "weight_type": QuantType.QInt8,
        "reduce_range": int8_saturates(),
        "extra_options": {"MatMulConstBOnly": True},
    }
    if artifact.quantization == "none":
        shutil.copyfile(graph, path)
        return
    with _without_advice():
        if artifact.quantization == "int8-dynamic":
            quantize_dynamic(onnx.load(graph), path, **shared)
        else:
            quantize_static(
                onnx.load(graph),
                path,
                _CalibrationReader(calibration_batches(artifact, calibration)),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                **shared,
            )


@contextmanager
def _without_advice() -> Iterator[None]:
    """Suppress the advice to pre-process graphs. The exporter has inferred the shapes already, and
    the pre-processing of the library fails for these graphs (incomplete symbolic shapes)."""

    def is_no_advice(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Please consider")

    logger = logging.getLogger()  # the library logs through the root
    logger.addFilter(is_no_advice)
    try:
        yield
    finally:
        logger.removeFilter(is_no_advice)


class _CalibrationReader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batches: Iterator[Arrays]) -> None:
        self._batches = batches

    def get_next(self) -> Arrays | None:
        return next(self._batches, None)
