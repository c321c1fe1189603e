"""Deploys trained models: runtimes, quantization, and how fast and accurate the result serves.

::

    trained model ──build──> artifact ──open_artifact──> Predictor
                                 └──────measure───────> measurements of its serving

:mod:`autotune.deployment.trained_model` writes and reads trained models. Importing this package
imports neither torch nor a runtime.
"""

from autotune.deployment.builders import build
from autotune.deployment.measurement import Score, measure
from autotune.deployment.predictor import Logits, Predictor
from autotune.deployment.runtimes import open_artifact
from autotune.deployment.settings import DeploymentSettings

__all__ = [
    "DeploymentSettings",
    "Logits",
    "Predictor",
    "Score",
    "build",
    "measure",
    "open_artifact",
]
