"""Graphs of OpenVINO, from the ONNX graph of the model.

The library computes in bf16 or fp16 when it loads an artifact; on disk, weights of both are fp16.
int8 is made by NNCF, which knows the patterns of encoders and smooths outliers of activations.
Where sums of products saturate, weights have 7 bits.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import openvino

from autotune.deployment.artifact import Artifact
from autotune.deployment.builders.calibration import calibration_batches
from autotune.deployment.inputs import EncodedText
from autotune.deployment.settings import DeploymentSettings
from autotune.hardware import int8_saturates


def build_graph(
    graph: Path,
    artifact: Artifact,
    settings: DeploymentSettings,
    path: Path,
    calibration: Sequence[EncodedText],
) -> None:
    """Write ``graph`` in the quantization of ``artifact`` to ``path``, and its weights next to
    it."""
    model = openvino.Core().read_model(graph)
    if artifact.quantization == "int8-static":
        model = _quantize(model, artifact, settings, calibration)
    openvino.save_model(model, path, compress_to_fp16=artifact.quantization in ("bf16", "fp16"))


def _quantize(
    model: openvino.Model,
    artifact: Artifact,
    settings: DeploymentSettings,
    calibration: Sequence[EncodedText],
) -> openvino.Model:
    import nncf
    from nncf.quantization.advanced_parameters import QuantizationParameters

    logging.getLogger("nncf").setLevel(logging.ERROR)
    batches = list(calibration_batches(artifact, calibration))
    weights = QuantizationParameters(per_channel=settings.quantization_granularity == "channel")
    overflow_fix = nncf.OverflowFix.ENABLE if int8_saturates() else None
    embeddings = ["Gather"] if settings.quantization_operators == "linear" else []
    with redirect_stdout(io.StringIO()):  # progress bars
        return nncf.quantize(
            model,
            nncf.Dataset(batches),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(types=embeddings, validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=overflow_fix, weights_quantization_params=weights
            ),
        )
