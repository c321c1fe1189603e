"""MLflow: one experiment for each study, one run for each trial, at ``MLFLOW_TRACKING_URI``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from autotune.domain import CurvePoint, State, Study, Trial
from autotune.errors import MissingExtraError
from autotune.tracking.base import curve, front_markdown, front_numbers

STATUS = {State.COMPLETE: "FINISHED", State.PRUNED: "FINISHED", State.INTERRUPTED: "KILLED"}


class MLflow:
    """Writes settings, curves, final metrics, and whether a trial is on the front."""

    def __init__(self, study: Study) -> None:
        try:
            client = importlib.import_module("mlflow.tracking").MlflowClient
        except ImportError as error:
            raise MissingExtraError("mlflow-skinny", "trackers", "--log-to mlflow") from error
        self._client: Any = client()
        existing = self._client.get_experiment_by_name(study.name)
        self._experiment = (
            self._client.create_experiment(study.name)
            if existing is None
            else existing.experiment_id
        )
        self._runs: dict[int, str] = {}

    def started(self, trial: Trial) -> None:
        """Create the trial's run with its settings."""
        run = self._client.create_run(self._experiment, run_name=f"trial {trial.number}")
        self._runs[trial.number] = run.info.run_id
        for lever, value in trial.strategy.values.items():
            self._client.log_param(run.info.run_id, lever, value)
        self._tag(trial, {"trial": trial.number, "origin": trial.origin})

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        """Write loss and scores at the point's step."""
        for name, value in curve(point).items():
            self._client.log_metric(self._runs[trial.number], name, value, step=point.step)

    def finished(self, trial: Trial) -> None:
        """Write the final metrics and end the run."""
        run = self._runs.get(trial.number)
        if run is None:
            return
        for name, value in trial.metrics.items():
            self._client.log_metric(run, name, value)
        self._tag(trial, {"state": trial.state.value, "reason": trial.reason or ""})
        self._client.set_terminated(run, STATUS.get(trial.state, "FAILED"))

    def close(self, study: Study, trials: Sequence[Trial]) -> None:
        """Mark the runs of this search that are on the front, and write the front as a note."""
        front = front_numbers(study, trials)
        for trial in trials:
            if trial.number in self._runs:
                self._tag(trial, {"on_front": str(trial.number in front).lower()})
        markdown = front_markdown(study, trials)
        self._client.set_experiment_tag(self._experiment, "mlflow.note.content", markdown)

    def _tag(self, trial: Trial, tags: Mapping[str, Any]) -> None:
        for name, value in tags.items():
            self._client.set_tag(self._runs[trial.number], name, str(value))
