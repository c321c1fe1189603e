"""``autotune verify`` for exported models: predicts the validation split again, and compares."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from autotune.deployment import DeploymentSettings, measure
from autotune.deployment.artifact import read_artifact
from autotune.deployment.pipeline import make_encoder
from autotune.domain import Measurement
from autotune.errors import Unsupported, UsageError
from autotune.export.artifact_predictions import write_predictions
from autotune.export.artifact_rows import PREDICTIONS, read_predictions, validation_rows
from autotune.export.verify import SPEED_TOLERANCE, Check, estimate, require_records

SPEED = "deployed_relative_speed"

SCORE_PREFIX = "deployed_"
"""The names of scores of deployed models begin so."""

MAX_DIFFERENCE = 1e-3
"""Probabilities and numbers that differ less are equal: threads add in another order."""

TOLERANCES = {"ratio": 1e-12, "correlation": MAX_DIFFERENCE}
"""By the unit of a score: shares of examples are equal, correlations are those of numbers."""


def verify_artifact(directory: Path, runs: int = 1) -> list[Check]:
    """Compare what ``predict.py`` and a process that serves show now with the export's promises.

    - ``predictions``: the share of the validation split with the predictions of the export
    - scores: those of the export against those of the trial, if it deployed the model in the same
      way
    - ``deployed_relative_speed``: the best of ``runs``, in units of the drift reference, so that a
      change of the machine's speed does not matter

    Raises :class:`UsageError` for a folder that is not a complete export.
    """
    document = _read_document(directory)
    checks = [_check_predictions(directory)]
    promised, exported = document["measured"], document["exported"]
    if not document["left_out"]:
        checks += [
            _check_score(name, promised[name], exported[name])
            for name in exported
            if name in promised and _is_score(name, exported)
        ]
    return [*checks, _check_speed(directory, document, runs)]


def _check_score(name: str, promised: Mapping[str, Any], exported: Mapping[str, Any]) -> Check:
    tolerance = TOLERANCES[exported["unit"]]
    return Check(name, promised["value"], None, exported["value"], None, tolerance)


def _read_document(directory: Path) -> Mapping[str, Any]:
    """``strategy.json`` of an exported model, with measurements and settings that can be used."""
    path = directory / "strategy.json"
    document: Any = None
    with suppress(OSError, ValueError, RecursionError):
        document = json.loads(path.read_bytes())
    if not isinstance(document, dict) or not _is_complete(document):
        raise UsageError(
            f"{path} does not describe an exported model",
            hint=f"export again: autotune export STUDY --to onnx --output {directory}",
        )
    for section in ("measured", "exported"):
        require_records(path, section, document[section])
    return document


def _is_complete(document: Mapping[str, Any]) -> bool:
    """Whether ``document`` has what is compared, and the settings of the deployment."""
    try:
        DeploymentSettings(**document["deployment"])
        return SPEED in document["exported"] and {"measured", "left_out"} <= document.keys()
    except (KeyError, TypeError, Unsupported):
        return False


def _is_score(name: str, records: Mapping[str, Mapping[str, Any]]) -> bool:
    return name.startswith(SCORE_PREFIX) and records[name].get("unit") in TOLERANCES


def _check_predictions(directory: Path) -> Check:
    with tempfile.TemporaryDirectory(prefix="autotune-verify-") as name:
        output = Path(name) / PREDICTIONS
        write_predictions(directory, output)
        reached = read_predictions(output)
    promised = read_predictions(directory / PREDICTIONS)
    count = sum(map(is_same_prediction, promised, reached)) if len(promised) == len(reached) else 0
    return Check("predictions", 1.0, None, count / max(1, len(promised)), None, 0.0)


def is_same_prediction(first: Any, second: Any) -> bool:
    """Whether labels are equal, and numbers equal up to rounding."""
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=MAX_DIFFERENCE, abs_tol=MAX_DIFFERENCE)
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(
            is_same_prediction(first[key], second[key]) for key in first
        )
    return bool(first == second)


def _check_speed(directory: Path, document: Mapping[str, Any], runs: int) -> Check:
    is_trial = not document["left_out"] and SPEED in document["measured"]
    promised = document["measured" if is_trial else "exported"][SPEED]
    value, interval = estimate(promised)
    reached = max(
        (_measure_speed(directory, document["deployment"]) for _ in range(runs)),
        key=lambda measurement: measurement.value,
    )
    half_widths = [(pair[1] - pair[0]) / 2 for pair in (interval, reached.ci95) if pair]
    tolerance = max(SPEED_TOLERANCE * value, math.hypot(*half_widths))
    return Check(SPEED, value, interval, reached.value, reached.ci95, tolerance)


def _measure_speed(directory: Path, deployment: Mapping[str, Any]) -> Measurement:
    rows = validation_rows(directory)
    encoder = make_encoder(directory, read_artifact(directory))
    texts = [encoder.arguments(window) for row in encoder.encode(rows) for window in row]
    settings = DeploymentSettings(**deployment)
    return measure(directory, texts, lambda logits: {}, settings)[SPEED]
