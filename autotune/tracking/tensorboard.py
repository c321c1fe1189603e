"""TensorBoard: event files in ``runs/tensorboard/STUDY``, one run for each trial."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.domain import CurvePoint, State, Study, Trial
from autotune.errors import MissingExtraError
from autotune.tracking.base import curve, front_markdown, front_numbers


class TensorBoard:
    """Writes loss and scores by step, the metrics and settings of each trial, and the front."""

    def __init__(self, study: Study, directory: Path) -> None:
        try:
            self._writer: Any = importlib.import_module("tensorboardX").SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboardX", "trackers", "--log-to tensorboard") from error
        self._folder = directory / "tensorboard" / study.name
        self._writers: dict[int, Any] = {}

    def started(self, trial: Trial) -> None:
        """Open the run of the trial; a trial that runs again continues its run."""
        if trial.number not in self._writers:
            self._writers[trial.number] = self._writer(str(self._folder / f"{trial.number:04d}"))

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        """Write loss and scores at the point's step."""
        for name, value in curve(point).items():
            self._writers[trial.number].add_scalar(name, value, point.step)

    def finished(self, trial: Trial) -> None:
        """Write the final metrics and, for a complete trial, a row of the settings table."""
        writer = self._writers.pop(trial.number, None)
        if writer is None:
            return
        for name, value in trial.metrics.items():
            writer.add_scalar(f"final/{name}", value, 0)
        writer.add_text("outcome", f"{trial.state.value} {trial.reason or ''}".strip())
        if trial.state is State.COMPLETE:
            metrics = {f"final/{name}": value for name, value in trial.metrics.items()}
            writer.add_hparams(dict(trial.strategy.values), metrics, name="settings", global_step=0)
        writer.close()

    def close(self, study: Study, trials: Sequence[Trial]) -> None:
        """Write the front to a separate run."""
        for writer in self._writers.values():
            writer.close()
        with self._writer(str(self._folder / "front")) as writer:
            writer.add_text("front", front_markdown(study, trials))
            for number in sorted(front_numbers(study, trials)):
                trial = next(t for t in trials if t.number == number)
                for objective in study.objectives:
                    name, value = objective.metric, trial.metric(objective.metric)
                    writer.add_scalar(f"front/{name}", value, number)
