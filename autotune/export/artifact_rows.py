"""The rows of the validation split in exported models, and the predictions for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.deployment.artifact import read_artifact
from autotune.deployment.pipeline import Row
from autotune.domain.text import one_line
from autotune.errors import UsageError
from autotune.export.artifact_texts import SESSION_MODULES

VALIDATION, PREDICTIONS = "validation.jsonl", "predictions.jsonl"


def validation_rows(directory: Path) -> list[Row]:
    """The rows of the validation split. Raises :class:`UsageError` for a folder without them."""
    return _read_lines(directory / VALIDATION)


def read_predictions(path: Path) -> list[Any]:
    """The predictions in a file that ``predict.py`` has written. Raises :class:`UsageError` for
    another file."""
    return _read_lines(path)


def _read_lines(path: Path) -> list[Any]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # other line separators are text
        return [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be read: {one_line(error)}",
            hint="export again: autotune export STUDY --to onnx --output DIR",
        ) from error


def require_exported_runtime(directory: Path) -> None:
    """Raise :class:`UsageError` if ``directory`` names a runtime that no export has: others load
    native code of the folder."""
    runtime = read_artifact(directory).runtime
    if runtime not in SESSION_MODULES:
        raise UsageError(
            f"{directory}: no exported model has the runtime {runtime!r}",
            hint=f"exported models have {', '.join(SESSION_MODULES)}",
        )


def require_rows(rows: Sequence[Row]) -> None:
    """Raise :class:`UsageError` if there are none."""
    if not rows:
        raise UsageError("there are no rows to send", hint='rows are like {"text": "..."}')
