"""Weights & Biases: one project for each study, one run for each trial.

Set ``WANDB_MODE=offline`` to run without a network.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.domain import CurvePoint, Study, Trial
from autotune.errors import MissingExtraError
from autotune.tracking.base import curve, front_markdown, front_numbers


class Wandb:
    """Writes settings as config, curves by step, final metrics as summary, and the front."""

    def __init__(self, study: Study, directory: Path) -> None:
        try:
            self._wandb: Any = importlib.import_module("wandb")
        except ImportError as error:
            raise MissingExtraError("wandb", "trackers", "--log-to wandb") from error
        self._study, self._directory = study.name, directory
        directory.mkdir(parents=True, exist_ok=True)
        self._runs: dict[int, Any] = {}

    def started(self, trial: Trial) -> None:
        """Open the run of the trial."""
        self._runs[trial.number] = self._run(f"trial {trial.number}", dict(trial.strategy.values))

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        """Write loss and scores at the point's step."""
        if metrics := curve(point):
            self._runs[trial.number].log(metrics, step=point.step)

    def finished(self, trial: Trial) -> None:
        """Write the summary and end the run; it fails unless the trial is complete or pruned."""
        run = self._runs.pop(trial.number, None)
        if run is None:
            return
        run.summary.update({**trial.metrics, "state": trial.state.value, "reason": trial.reason})
        run.finish(exit_code=0 if trial.state.value in ("complete", "pruned") else 1)

    def close(self, study: Study, trials: Sequence[Trial]) -> None:
        """Write the front as a table to a separate run."""
        for run in self._runs.values():
            run.finish(exit_code=1)
        run = self._run("front", {})
        metrics = [objective.metric for objective in study.objectives]
        front = front_numbers(study, trials)
        rows = [[t.number, *map(t.metric, metrics)] for t in trials if t.number in front]
        run.log({"front": self._wandb.Table(columns=["trial", *metrics], data=rows)})
        run.summary.update({"front_markdown": front_markdown(study, trials)})
        run.finish()

    def _run(self, name: str, config: dict[str, Any]) -> Any:
        return self._wandb.init(
            project=self._study,
            name=name,
            config=config,
            dir=str(self._directory),
            reinit="create_new",
            settings=self._wandb.Settings(silent=True, console="off"),
        )
