"""Predictions of exported models for the validation split: what an export promises."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.deployment import DeploymentSettings, measure
from autotune.deployment.artifact import read_artifact
from autotune.deployment.environment import run_python
from autotune.deployment.measurement import serve
from autotune.deployment.pipeline import make_encoder
from autotune.domain import Measurement, Task
from autotune.domain.tasks import TASK_KINDS
from autotune.errors import ExecutionError, ModelError
from autotune.export.artifact_rows import VALIDATION, validation_rows
from autotune.trial.data.datasets import load_split, read_examples
from autotune.trial.data.encoded_texts import encoded_texts
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.deployment import deployed_scores


def export_figures(
    prepared: PreparedTask, folder: Path, settings: DeploymentSettings
) -> Mapping[str, Measurement]:
    """How the artifact in ``folder`` serves the validation split, and its scores."""
    split = load_split(prepared, "validation")
    threshold = read_artifact(folder).threshold

    def score(logits: Sequence[Any]) -> Mapping[str, Measurement]:
        return deployed_scores(logits, split, prepared, threshold)

    return measure(folder, encoded_texts(split), score, settings)


def score_test_split(
    prepared: PreparedTask, folder: Path, settings: DeploymentSettings
) -> Mapping[str, Measurement]:
    """The scores of the artifact in ``folder`` for the test split, which a search uses for its
    confirmations only."""
    split = load_split(prepared, "test")
    serving = serve(folder, encoded_texts(split), settings.inference_threads)
    return deployed_scores(serving.logits, split, prepared, read_artifact(folder).threshold)


def write_validation_rows(task: Task, folder: Path) -> None:
    """Write ``validation.jsonl``, with the rows that ``predict.py`` takes and their labels."""
    examples = read_examples(task)["validation"]
    is_tokens = TASK_KINDS[task.kind].label_per_token
    with (folder / VALIDATION).open("w", encoding="utf-8") as file:
        for inputs, labels in zip(examples.inputs, examples.labels, strict=True):
            names = ("tokens",) if is_tokens else ("text", "text_pair")
            values = (list(inputs),) if is_tokens else inputs
            row = {**dict(zip(names, values, strict=False)), "label": labels}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def require_trial_tokens(prepared: PreparedTask, folder: Path) -> None:
    """Raise :class:`ModelError` unless ``predict.py`` of ``folder`` makes the tokens of the trial
    for each row of the validation split: only then are its predictions those that were scored."""
    encoder = make_encoder(folder, read_artifact(folder))
    windows = [
        (number, window.ids)
        for number, row in enumerate(encoder.encode(validation_rows(folder)), 1)
        for window in row
    ]
    texts = encoded_texts(load_split(prepared, "validation"))
    expected = [list(text["input_ids"]) for text in texts]
    different = (
        number
        for (number, ids), tokens in zip(windows, expected, strict=False)
        if list(ids) != tokens
    )
    number = next(different, None if len(windows) == len(expected) else len(windows))
    if number is not None:
        raise ModelError(
            f"predict.py makes other tokens of row {number} of {VALIDATION} than the trial did",
            hint="export a script, which has the tokenizer of transformers: --to hf-trainer",
        )


def write_predictions(folder: Path, output: Path) -> None:
    """Run ``predict.py`` of ``folder`` for ``validation.jsonl``.

    Raises :class:`ExecutionError` with its message if it fails."""
    # Without files of bytecode, which would become a part of the export.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPATH", None)
    hint = f"run it in {folder}: python predict.py --input {VALIDATION}"
    process = run_python(
        ["predict.py", "--input", VALIDATION, "--output", str(output.resolve())],
        "predict.py",
        environment=environment,
        folder=folder,
        hint=hint,
    )
    if process.returncode != 0:
        last = (process.stderr.strip().splitlines() or ["no output"])[-1]
        raise ExecutionError(f"predict.py ended with code {process.returncode}: {last}", hint=hint)
