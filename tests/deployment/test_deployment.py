"""Artifacts of a pruned model predict what the model predicts, in each runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import BertForSequenceClassification

from autotune.deployment import SUPPORTED, DeploymentSettings, build, measure, open_artifact
from autotune.domain import Measurement
from autotune.errors import ModelError, Unsupported
from tests.deployment.tiny_models import expected_logits, random_texts, save_tiny_model

TEXTS = random_texts(24, paired=True)

TOLERANCES = {"none": 1e-4, "bf16": 0.1, "fp16": 0.02, "int8-dynamic": 0.3, "int8-static": 0.5}
"""Largest difference of logits from those in fp32, relative to their standard deviation."""

CASES = [
    (runtime, quantization)
    for runtime in ("torch", "onnxruntime", "openvino")
    for quantization in SUPPORTED[runtime]
]

Trained = tuple[Path, BertForSequenceClassification]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A folder with a trained model, and the model."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    return folder, save_tiny_model(folder)


@pytest.mark.parametrize(("runtime", "quantization"), CASES)
def test_an_artifact_predicts_what_the_model_predicts(
    trained: Trained, tmp_path: Path, runtime: str, quantization: str
) -> None:
    folder, model = trained
    settings = DeploymentSettings(
        runtime, quantization, inference_batch_size=4, inference_padding="bucketed"
    )
    artifact = build(folder, settings, tmp_path / "artifact", TEXTS)
    with open_artifact(artifact, 1) as predictor:
        logits = np.stack(predictor.predict_all(TEXTS))
        single = predictor.predict(TEXTS[:1])
    expected = expected_logits(model, TEXTS)
    np.testing.assert_allclose(single, logits[:1], atol=TOLERANCES[quantization])
    difference = np.abs(logits - expected).max() / expected.std()
    assert difference < TOLERANCES[quantization]
    assert quantization == "none" or difference > 0


def test_serving_is_measured_in_a_process_of_its_own(trained: Trained, tmp_path: Path) -> None:
    folder, model = trained
    settings = DeploymentSettings("onnxruntime", inference_threads=1)
    artifact = build(folder, settings, tmp_path / "artifact", TEXTS)
    reports = []

    def score(logits: list[np.ndarray]) -> dict[str, Measurement]:
        np.testing.assert_allclose(np.stack(logits), expected_logits(model, TEXTS), atol=1e-4)
        return {"accuracy": Measurement("accuracy", 1.0, "ratio")}

    figures = measure(artifact, TEXTS, score, settings, reports.append)
    assert figures.keys() - reports[0].keys() == {"accuracy"}
    assert all(figure.value > 0 for figure in figures.values())
    assert figures["latency_p50_ms"].value <= figures["latency_p99_ms"].value


def test_a_failure_in_the_process_that_serves_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"deployment\.json cannot be read"):
        measure(tmp_path, TEXTS, lambda logits: {}, DeploymentSettings(), lambda figures: None)


def test_a_runtime_refuses_quantizations_that_it_cannot_run() -> None:
    with pytest.raises(Unsupported, match="torch cannot run int8-static: it can run none, bf16"):
        DeploymentSettings("torch", "int8-static")
