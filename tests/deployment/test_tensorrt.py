"""The runtime ``tensorrt``: with a stand-in for its builder, and itself where a GPU is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock, call

import numpy as np
import pytest
import torch

import autotune.deployment.builders.onnx as onnx_builder
from autotune.deployment import DeploymentSettings, build, open_artifact
from autotune.errors import Unsupported
from tests.deployment.tiny_models import expected_logits, random_texts, save_tiny_model

TEXTS = random_texts(4)


MODULES = ("builders", "runtimes")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[MagicMock]:
    """A stand-in for the package, which the modules of the runtime import."""
    stand_in = MagicMock()
    monkeypatch.setitem(sys.modules, "tensorrt", stand_in)
    yield stand_in
    for name in MODULES:
        package = sys.modules[f"autotune.deployment.{name}"]
        sys.modules.pop(f"{package.__name__}.tensorrt", None)
        vars(package).pop("tensorrt", None)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained model whose graph is a file of three bytes."""
    save_tiny_model(tmp_path / "model")
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(b"abc")
    monkeypatch.setattr(onnx_builder, "onnx_graph", lambda model, names: graph)
    return tmp_path / "model"


def test_an_engine_is_built_for_all_shapes(library: MagicMock, model: Path, tmp_path: Path) -> None:
    builder, parser = library.Builder.return_value, library.OnnxParser.return_value
    builder.build_serialized_network.return_value = b"engine"
    settings = DeploymentSettings("tensorrt", "fp16", inference_batch_size=8)
    folder = build(model, settings, tmp_path / "artifact", TEXTS)
    assert (folder / "model.engine").read_bytes() == b"engine"
    parser.parse.assert_called_once_with(b"abc")
    config = builder.create_builder_config.return_value
    config.set_flag.assert_called_once_with(library.BuilderFlag.FP16)
    shapes = builder.create_optimization_profile.return_value.set_shape.call_args_list
    assert shapes == [
        call(name, (1, 1), (8, 16), (8, 32)) for name in ("input_ids", "attention_mask")
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a host without a GPU")
def test_an_engine_needs_a_gpu(library: MagicMock, model: Path, tmp_path: Path) -> None:
    library.Builder.return_value.build_serialized_network.return_value = b"engine"
    folder = build(model, DeploymentSettings("tensorrt"), tmp_path / "artifact", TEXTS)
    with pytest.raises(Unsupported, match="needs an NVIDIA GPU"), open_artifact(folder, 1):
        pass


def test_a_graph_that_cannot_be_read_is_unsupported(
    library: MagicMock, model: Path, tmp_path: Path
) -> None:
    parser = library.OnnxParser.return_value
    parser.parse.return_value = False
    parser.get_error.return_value.desc.return_value = "no such operator"
    with pytest.raises(Unsupported, match="cannot read the model: no such operator"):
        build(model, DeploymentSettings("tensorrt"), tmp_path / "artifact", TEXTS)


@pytest.mark.gpu
@pytest.mark.parametrize("quantization", ["none", "fp16"])
def test_the_engine_predicts_what_the_model_predicts(tmp_path: Path, quantization: str) -> None:
    pytest.importorskip("tensorrt")
    model = save_tiny_model(tmp_path / "model")
    settings = DeploymentSettings("tensorrt", quantization, inference_batch_size=4)
    artifact = build(tmp_path / "model", settings, tmp_path / "artifact", TEXTS)
    with open_artifact(artifact, 1) as predictor:
        logits = np.stack(predictor.predict_all(TEXTS))
    np.testing.assert_allclose(logits, expected_logits(model, TEXTS), atol=0.05)
