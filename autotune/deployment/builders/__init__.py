"""Builds artifacts from trained models: one file for each format of a graph."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from autotune.deployment.artifact import TOKENIZER, Artifact, write_artifact
from autotune.deployment.inputs import MASK, EncodedText
from autotune.deployment.packages import required_packages
from autotune.deployment.settings import DeploymentSettings
from autotune.errors import Unsupported


def build(
    model: Path, settings: DeploymentSettings, folder: Path, calibration: Sequence[EncodedText]
) -> Path:
    """Make an artifact in ``folder``, which is created, and return it.

    ``model`` is a folder that :func:`autotune.deployment.trained_model.save` has written.
    ``calibration`` are encoded training texts, at least one: they say what inputs the model takes,
    and int8-static takes the ranges of activations from them.

    Raises :class:`~autotune.errors.MissingExtraError` if the runtime is not installed,
    :class:`~autotune.errors.Unsupported` if it cannot run the model or its tokenizer, and
    :class:`~autotune.errors.ModelError` if the model cannot be read.
    """
    from autotune.deployment.trained_model import read_facts

    facts = read_facts(model)
    if not (model / TOKENIZER).is_file():
        raise Unsupported(
            f"the model cannot be deployed: its tokenizer, written in Python, has no {TOKENIZER}"
        )
    artifact = Artifact(
        task=facts.kind,
        labels=facts.labels,
        inputs=("input_ids", MASK, *(("token_type_ids",) if has_types(calibration) else ())),
        pad_token_id=facts.pad_token_id,
        max_length=facts.max_length,
        runtime=settings.runtime,
        quantization=settings.quantization,
        batch_size=settings.inference_batch_size,
        threads=settings.inference_threads,
        padding=settings.inference_padding,
        is_paired=facts.is_paired,
        has_windows=facts.has_windows,
        stride=facts.stride,
        may_be_empty=facts.may_be_empty,
        threshold=facts.threshold,
        truncation_side=facts.truncation_side,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with required_packages(settings.runtime):
        _build_graph(model, artifact, settings, folder, calibration)
    shutil.copyfile(model / TOKENIZER, folder / TOKENIZER)
    write_artifact(folder, artifact)
    return folder


def has_types(texts: Sequence[EncodedText]) -> bool:
    return "token_type_ids" in texts[0]


def _build_graph(
    model: Path,
    artifact: Artifact,
    settings: DeploymentSettings,
    folder: Path,
    calibration: Sequence[EncodedText],
) -> None:
    match artifact.runtime:
        case "torch" | "torch-cuda-graphs":
            from autotune.deployment.builders import weights

            weights.build_graph(model, artifact, folder)
        case "torch-compile":
            from autotune.deployment.builders import compiled

            compiled.build_graph(model, artifact, folder)
        case "onnxruntime":
            from autotune.deployment.builders.onnx import onnx_graph
            from autotune.deployment.builders.onnx_quantization import quantize
            from autotune.deployment.runtimes.onnx import GRAPH as ONNX_GRAPH

            graph = onnx_graph(model, artifact.inputs)
            quantize(graph, artifact, settings, folder / ONNX_GRAPH, calibration)
        case "openvino":
            from autotune.deployment.builders import openvino
            from autotune.deployment.builders.onnx import onnx_graph
            from autotune.deployment.runtimes.openvino import GRAPH as OPENVINO_GRAPH

            graph = onnx_graph(model, artifact.inputs)
            openvino.build_graph(graph, artifact, settings, folder / OPENVINO_GRAPH, calibration)
        case "tensorrt":
            from autotune.deployment.builders import tensorrt
            from autotune.deployment.builders.onnx import onnx_graph

            tensorrt.build_engine(onnx_graph(model, artifact.inputs), artifact, folder)
