"""Artifacts of a pruned model predict what the model predicts, in each runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autotune.deployment import DeploymentSettings, build, measure, open_artifact
from autotune.domain import Measurement
from tests.deployment.tiny_models import expected_logits, random_texts, save_tiny_model


@pytest.mark.parametrize("paired", [False, True])
def test_the_artifact_predicts_what_the_model_predicts(tmp_path: Path, paired: bool) -> None:
    model = save_tiny_model(tmp_path / "model")
    texts = random_texts(9, paired=paired)
    settings = DeploymentSettings(inference_batch_size=4, inference_padding="bucketed")
    artifact = build(tmp_path / "model", settings, tmp_path / "artifact", texts)
    with open_artifact(artifact, 1) as predictor:
        logits = np.stack(predictor.predict_all(texts))
    np.testing.assert_allclose(logits, expected_logits(model, texts), atol=1e-5)


def test_serving_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    texts = random_texts(9)
    settings = DeploymentSettings(inference_threads=1)
    artifact = build(tmp_path / "model", settings, tmp_path / "artifact", texts)
    reports = []

    def score(logits: list[np.ndarray]) -> dict[str, Measurement]:
        np.testing.assert_allclose(np.stack(logits), expected_logits(model, texts), atol=1e-5)
        return {"accuracy": Measurement("accuracy", 1.0, "ratio")}

    figures = measure(artifact, texts, score, settings, reports.append)
    assert figures.keys() - reports[0].keys() == {"accuracy"}
    assert all(figure.value > 0 for figure in figures.values())
    assert figures["latency_p50_ms"].value <= figures["latency_p99_ms"].value
