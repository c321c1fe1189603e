"""Artifacts of a pruned model predict what the model predicts, in each runtime."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
)

from autotune.deployment import DeploymentSettings, build, measure, open_artifact
from autotune.deployment.artifact import TOKENIZER
from autotune.deployment.trained_model import WEIGHTS, TaskFacts, load, save
from autotune.domain import Measurement
from autotune.domain.runtimes import RUNTIMES
from autotune.errors import ModelError, Unsupported
from tests.deployment.tiny_models import expected_logits, random_texts, save_tiny_model, tokenizer

TEXTS = random_texts(24, paired=True)

TOLERANCES = {"none": 1e-4, "bf16": 0.1, "fp16": 0.02, "int8-dynamic": 0.3, "int8-static": 0.5}
"""Largest difference of logits from those in fp32, relative to their standard deviation."""

CASES = [
    (runtime, quantization)
    for runtime in ("torch", "onnxruntime", "openvino")
    for quantization in RUNTIMES[runtime].quantizations
]

Trained = tuple[Path, BertForSequenceClassification]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A folder with a trained model, and the model."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    return folder, save_tiny_model(folder)


def test_a_tokenizer_without_its_file_is_refused(trained: Trained, tmp_path: Path) -> None:
    folder, _ = trained
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / TOKENIZER).unlink()
    with pytest.raises(Unsupported, match="its tokenizer, written in Python, has no"):
        build(tmp_path / "model", DeploymentSettings(), tmp_path / "artifact", TEXTS)


@pytest.mark.parametrize("family", ["deberta-v2", "mpnet"])
def test_models_without_fused_attention_are_loaded(family: str, tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        family, vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, num_labels=2,
    )  # fmt: skip
    model = AutoModelForSequenceClassification.from_config(config).eval()
    facts = TaskFacts(
        "text-classification", "AutoModelForSequenceClassification", ("a", "b"), 16, 0
    )
    save(model, tokenizer(), facts, tmp_path)
    ids = torch.ones(1, 5, dtype=torch.long)
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path)(ids).logits, model(ids).logits)


@pytest.mark.parametrize(("runtime", "quantization"), CASES)
def test_an_artifact_predicts_what_the_model_predicts(
    trained: Trained,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    runtime: str,
    quantization: str,
) -> None:
    """No library logs a warning or prints meanwhile."""
    folder, model = trained
    settings = DeploymentSettings(
        runtime, quantization, inference_batch_size=4, inference_padding="bucketed"
    )
    artifact = build(folder, settings, tmp_path / "artifact", TEXTS)
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert capsys.readouterr().out == ""
    with open_artifact(artifact, 1) as predictor:
        logits = np.stack(predictor.predict_all(TEXTS))
        single = predictor.predict(TEXTS[:1])
    expected = expected_logits(model, TEXTS)
    np.testing.assert_allclose(single, logits[:1], atol=TOLERANCES[quantization])
    difference = np.abs(logits - expected).max() / expected.std()
    assert difference < TOLERANCES[quantization]
    assert quantization == "none" or difference > 0


def test_weights_in_bf16_are_half_as_large(trained: Trained, tmp_path: Path) -> None:
    folder, _ = trained
    sizes = [
        (build(folder, DeploymentSettings("torch", kind), tmp_path / kind, TEXTS) / WEIGHTS)
        .stat().st_size
        for kind in ("none", "bf16")
    ]  # fmt: skip
    assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.parametrize(
    ("runtime", "quantization"), [("onnxruntime", "int8-dynamic"), ("openvino", "int8-static")]
)
def test_granularity_and_operators_of_int8(
    trained: Trained, tmp_path: Path, runtime: str, quantization: str
) -> None:
    """Each changes the predictions; embeddings in fp32 take more space."""
    folder, _ = trained
    logits, sizes = {}, {}
    for name, changes in {
        "default": {},
        "tensor": {"quantization_granularity": "tensor"},
        "linear": {"quantization_operators": "linear"},
    }.items():
        settings = DeploymentSettings(runtime, quantization, **changes)
        artifact = build(folder, settings, tmp_path / name, TEXTS)
        sizes[name] = sum(path.stat().st_size for path in artifact.rglob("model.*"))
        with open_artifact(artifact, 1) as predictor:
            logits[name] = np.stack(predictor.predict_all(TEXTS))
    assert np.abs(logits["tensor"] - logits["default"]).max() > 0
    assert np.abs(logits["linear"] - logits["default"]).max() > 0
    assert sizes["linear"] > sizes["default"]


@pytest.mark.parametrize("saturates", [False, True])
@pytest.mark.parametrize("quantization", ["int8-dynamic", "int8-static"])
def test_int8_has_seven_bits_where_sums_saturate(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quantization: str,
    saturates: bool,
) -> None:
    monkeypatch.setattr(
        "autotune.deployment.builders.onnx_quantization.int8_saturates", lambda: saturates
    )
    settings = DeploymentSettings("onnxruntime", quantization)
    artifact = build(trained[0], settings, tmp_path / "artifact", TEXTS)
    arrays = map(onnx.numpy_helper.to_array, onnx.load(artifact / "model.onnx").graph.initializer)
    weights = [array for array in arrays if array.dtype == np.int8 and array.ndim == 2]
    assert weights
    assert max(int(np.abs(array.astype(int)).max()) for array in weights) == (
        64 if saturates else 127
    )


def test_a_compiled_model_has_dynamic_shapes(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exported program itself stands in for its machine code, which takes a minute to make."""
    programs: dict[str, torch.export.ExportedProgram] = {}

    def compile_and_package(program: torch.export.ExportedProgram, package_path: str) -> None:
        assert torch.get_num_threads() == 1
        programs[package_path] = program

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", compile_and_package)
    monkeypatch.setattr(torch._inductor, "aoti_load_package", lambda path: programs[path].module())
    folder, model = trained
    for quantization in RUNTIMES["torch-compile"].quantizations:
        settings = DeploymentSettings("torch-compile", quantization, 5, inference_threads=1)
        artifact = build(folder, settings, tmp_path / quantization, TEXTS)
        with open_artifact(artifact, 1) as predictor:
            logits = np.stack(predictor.predict_all(TEXTS))
            single = predictor.predict(TEXTS[:1])
        expected, tolerance = expected_logits(model, TEXTS), TOLERANCES[quantization]
        np.testing.assert_allclose(single, logits[:1], atol=tolerance)
        assert np.abs(logits - expected).max() / expected.std() < tolerance


def test_serving_is_measured_in_a_process_of_its_own(trained: Trained, tmp_path: Path) -> None:
    folder, model = trained
    settings = DeploymentSettings("onnxruntime", inference_threads=1)
    artifact = build(folder, settings, tmp_path / "artifact", TEXTS)

    def score(logits: list[np.ndarray]) -> dict[str, Measurement]:
        np.testing.assert_allclose(np.stack(logits), expected_logits(model, TEXTS), atol=1e-4)
        return {"accuracy": Measurement("accuracy", 1.0, "ratio")}

    figures = measure(artifact, TEXTS, score, settings)
    assert figures["accuracy"].value == 1.0
    assert all(figure.value > 0 for figure in figures.values())
    assert figures["latency_p50_ms"].value <= figures["latency_p99_ms"].value


def test_a_failure_in_the_process_that_serves_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"deployment\.json cannot be read"):
        measure(tmp_path, TEXTS, lambda logits: {}, DeploymentSettings())


def test_a_runtime_refuses_quantizations_that_it_cannot_run() -> None:
    with pytest.raises(Unsupported, match="torch cannot run int8-static: it can run none, bf16"):
        DeploymentSettings("torch", "int8-static")
