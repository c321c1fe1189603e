"""Predictions of the trained model of a trial, deployed as the trial deployed it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autotune import plugins
from autotune.deployment import DeploymentSettings, build
from autotune.deployment.pipeline import Prediction, Row
from autotune.deployment.programs import open_pipeline
from autotune.deployment.runtimes import open_session
from autotune.domain import Columns, Strategy, Study
from autotune.domain.training import task_of
from autotune.trial.data.datasets import load_split, prepare_task
from autotune.trial.data.encoded_texts import calibration_texts
from autotune.trial.model_files import ARTIFACT, linked_model
from autotune.trial.post_pruning import pruned_model


def predict_rows(
    study: Study, strategy: Strategy, model: Path, rows: Sequence[Row], scratch: Path
) -> list[Prediction]:
    """The prediction for each of ``rows``, whose texts have the names of the study's columns, or
    ``text`` and ``text_pair``. ``model`` is the folder of the trained model;
    the caller deletes the folder ``scratch``, since the process can be killed.

    Raises :class:`~autotune.errors.DataError` for a row without text.
    """
    plugins.load(study.plugins)
    prepared = prepare_task(task_of(study.task, strategy))
    train, seed = load_split(prepared, "train"), study.task.seed
    calibration = calibration_texts(train, seed)
    settings, folder = DeploymentSettings.from_strategy(strategy), scratch / ARTIFACT
    with linked_model(model, scratch) as linked:
        build(pruned_model(linked, strategy, prepared, train, seed), settings, folder, calibration)
    with open_pipeline(folder, None, open_session) as pipeline:
        return pipeline.predict([rename_columns(row, study.task.columns) for row in rows])


def rename_columns(row: Row, columns: Columns) -> Row:
    """``row`` with the names that pipelines know. A column of the study wins over another one that
    has such a name."""
    named = {}
    if columns.text in row:  # words are called tokens, whatever the column
        named = {"text": row[columns.text], "tokens": row[columns.text]}
    if columns.text_pair is not None and columns.text_pair in row:
        named["text_pair"] = row[columns.text_pair]
    return {**row, **named}
