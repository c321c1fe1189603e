"""The trained model of a trial, in the folder of the trial that trained it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autotune.components import EXPORT_FORMATS
from autotune.domain import Study, Trial
from autotune.errors import UsageError
from autotune.levers import training_key
from autotune.trial.model_files import MODEL, has_model


def exported_model(
    export_format: str, study: Study, trials: Sequence[Trial], trial: Trial, runs: Path
) -> Path | None:
    """:func:`trained_model_folder` for formats that export the trained model, else ``None``."""
    if export_format not in EXPORT_FORMATS or not EXPORT_FORMATS[export_format].exports_model:
        return None
    return trained_model_folder(study, trials, trial, runs)


def trained_model_folder(study: Study, trials: Sequence[Trial], trial: Trial, runs: Path) -> Path:
    """The folder of the model that ``trial`` trained, or a trial with the same training.

    ``trials`` are all of ``study``; ``runs`` is the directory of the folders of trials. Raises
    :class:`UsageError` if no such model is kept, or if its files have changed.
    """
    training = training_key(trial.strategy), trial.seed
    damaged = None
    for candidate in (trial, *trials):
        saved = candidate.result.model
        if saved is None or (training_key(candidate.strategy), candidate.seed) != training:
            continue
        folder = runs / study.name / f"{candidate.number:04d}"
        if has_model(folder, saved):
            return folder / MODEL
        damaged = folder / MODEL
    if damaged is not None:
        raise UsageError(
            f"the trained model of trial {trial.number} is missing or damaged: {damaged}",
            hint="set AUTOTUNE_RUNS to the directory that the search ran with",
        )
    raise UsageError(
        f"the trained model of trial {trial.number} was not kept",
        hint=f"set keep: all in a study file with another name and search again; or train it: "
        f"autotune export {study.name} --trial {trial.number} --with-model",
    )
