"""The training of a trial: records windows, evaluates at rungs, reports progress."""

from __future__ import annotations

import math

from autotune.domain import CurvePoint, Measurement
from autotune.errors import NanLoss, StopTrial
from autotune.measure.clock import Window
from autotune.measure.drift import ReferenceWorkload
from autotune.measure.energy import EnergyMeter
from autotune.ports import Report
from autotune.trial import evaluation
from autotune.trial.data.split import Split
from autotune.trial.plan import TrainingPlan
from autotune.trial.recorder import TrialRecorder
from autotune.trial.state import TrainState
from autotune.trial.training import TrainingLoop
from autotune.trial.trial_data import TrialData

REFERENCE_INTERVAL_SECONDS = 4.0
"""Seconds of training between two timings of the reference workload."""


class TrainingRun:
    """A training run that can be paused between windows.

    :meth:`run_window` trains for one window and returns; the next call continues from there.
    :meth:`run` trains to the end. Both raise :class:`NanLoss` if the loss is not finite, and
    :class:`StopTrial` if the search stops the trial.
    """

    def __init__(
        self,
        state: TrainState,
        plan: TrainingPlan,
        data: TrialData,
        reference: ReferenceWorkload,
        meter: EnergyMeter,
        report: Report,
        recorder: TrialRecorder,
    ) -> None:
        self.state, self.plan, self.data = state, plan, data
        self.reference, self.meter, self.recorder = reference, meter, recorder
        self._report = report
        self._loop = TrainingLoop(state, plan, meter)
        self._reference_at = 0.0
        self.windows: list[Window] = []

    @property
    def is_finished(self) -> bool:
        return self._loop.is_finished

    @property
    def examples(self) -> int:
        """Examples trained on so far."""
        return self._loop.examples

    @property
    def seconds(self) -> float:
        """Seconds spent in optimizer steps so far."""
        return sum(window.seconds for window in self.windows)

    @property
    def steady_windows(self) -> int:
        """Number of windows after the warm-up."""
        return sum(not window.warmup for window in self.windows)

    def run(self) -> None:
        """Train until the plan is finished."""
        while not self.is_finished:
            self.run_window()
        self._measure_reference_if_due()

    def run_window(self) -> None:
        """Train for one window, evaluate if it ends at a rung, and report."""
        self._measure_reference_if_due()
        progress = self._loop.run_window()
        step, loss = progress.step, progress.loss
        if not math.isfinite(loss):
            raise NanLoss(f"the training loss is {loss} by step {step}")
        self.windows.append(progress.window)
        self.report(step, loss, self._rung_scores(step))

    def report(self, step: int, loss: float | None, metrics: dict[str, float]) -> None:
        """Add a point to the curve and report it. Raises :class:`StopTrial` if the search answers
        with a reason to stop."""
        point = CurvePoint(step, self.plan.steps, self.examples, self.seconds, loss, metrics)
        self.recorder.curve.append(point)
        if reason := self.state.group.report_progress(self._report, point):
            raise StopTrial(reason)

    def _measure_reference_if_due(self) -> None:
        if self.seconds - self._reference_at >= REFERENCE_INTERVAL_SECONDS:
            self.reference.measure()
            self._reference_at = self.seconds

    def _rung_scores(self, step: int) -> dict[str, float]:
        if step not in self.plan.rungs:
            return {}
        scores, _ = evaluate_split(self.state.unsharded(), self.data, self.data.rung)
        return {score.name: score.value for score in scores}


def evaluate_split(
    state: TrainState, data: TrialData, split: Split
) -> tuple[list[Measurement], list[Window]]:
    """Scores and mean loss on ``split``, and the windows timed during prediction.

    Raises :class:`NanLoss` if a loss is not finite.
    """
    collate = data.eval_collator(split)
    predictions = evaluation.predict(state.model, state.precision, collate, state.group)
    scores = evaluation.score(predictions, split, data.prepared)
    return scores, predictions.windows
