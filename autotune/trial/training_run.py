"""The training of a trial: records windows, evaluates at rungs, reports progress."""

from __future__ import annotations

import math
from dataclasses import replace

from autotune.domain import BEST_STEP, PAUSED_AT_STEP, CurvePoint, Measurement, PauseReason
from autotune.domain.tasks import TUNED
from autotune.errors import NanLoss, StopTrial
from autotune.measure.clock import Window
from autotune.measure.drift import ReferenceWorkload
from autotune.measure.energy import EnergyMeter
from autotune.ports import Report
from autotune.trial import evaluation
from autotune.trial.best_checkpoint import BestCheckpoint
from autotune.trial.checkpoints import Checkpoints, RunRecord
from autotune.trial.evaluation import Predictions
from autotune.trial.plan import TrainingPlan
from autotune.trial.recorder import TrialRecorder
from autotune.trial.split import Split
from autotune.trial.state import TrainState
from autotune.trial.thresholds import choose_threshold
from autotune.trial.training import TrainingLoop
from autotune.trial.trial_data import TrialData

SETUP = "3 setup"
"""The stage of a trial that sets up its model."""

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
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.state, self.plan, self.data = state, plan, data
        self.reference, self.meter, self.recorder = reference, meter, recorder
        self._report, self._checkpoints = report, checkpoints
        self._loop = TrainingLoop(state, plan, meter)
        self._reference_at = self._checkpoint_at = 0.0
        self._restart_overhead, self._rate_before_restart = 0.0, math.inf
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
        """Seconds spent in optimizer steps so far, without what a restart added."""
        return sum(window.seconds for window in self.windows) - self._restart_overhead

    @property
    def steady_windows(self) -> int:
        """Number of windows after the warm-up in which the machine did not change its speed."""
        return sum(window.is_steady for window in self.windows)

    def discard_speed(self) -> None:
        """Leave the windows so far and their timings of the reference workload out of all speeds:
        the machine changed its speed meanwhile."""
        self.windows = [
            window if window.warmup else replace(window, disturbed=True) for window in self.windows
        ]
        self.reference.discard()

    def run(self) -> None:
        """Train until the plan is finished. Its evaluations decide which weights the model has
        then."""
        while not self.is_finished:
            self.run_window()
        self._measure_reference_if_due()
        if self.plan.evaluations:
            self._restore_best()

    def run_window(self) -> None:
        """Train for one window, evaluate if it ends at a rung or evaluation, and report."""
        self._measure_reference_if_due()
        progress = self._loop.run_window()
        step, loss = progress.step, progress.loss
        if not math.isfinite(loss):
            raise NanLoss(f"the training loss is {loss} by step {step}")
        self.windows.append(progress.window)
        if progress.window.warmup and self._rate_before_restart < math.inf:
            lost = progress.window.seconds - progress.window.examples / self._rate_before_restart
            self._restart_overhead += max(0.0, lost)
        self.report(step, loss, self._scores(step))

    def report(self, step: int, loss: float | None, metrics: dict[str, float]) -> None:
        """Add a point to the curve and report it. Raises :class:`StopTrial` if the search answers
        with a reason to stop. A point with metrics can be followed by a checkpoint."""
        point = CurvePoint(step, self.plan.steps, self.examples, self.seconds, loss, metrics)
        self.recorder.curve.append(point)
        reason = self.state.group.report_progress(self._report, point)
        if reason and (not isinstance(reason, PauseReason) or self._pause()):
            raise StopTrial(reason)
        if metrics and self._checkpoints is not None and not self.is_finished:
            self._write_checkpoint_if_due(self._checkpoints)

    def restore(self) -> bool:
        """Continue at the newest checkpoint of an earlier run of this trial, if there is one, and
        report the points up to there. Returns whether there is one."""
        record = None if self._checkpoints is None else self._checkpoints.restore()
        if self._checkpoints is None or record is None:
            return False
        self._set_record(record)
        self.recorder.add_event(
            "continued",
            f"at step {record.step} of {self.plan.steps}, from the checkpoint of trial "
            f"{record.trial}: {self.seconds:.1f} s of training were done before",
        )
        if record.trial == self._checkpoints.trial:
            return True  # its points have been reported
        for point in record.result.curve:
            reason = self.state.group.report_progress(self._report, point)
            if reason and not isinstance(reason, PauseReason):
                raise StopTrial(reason)
        return True

    def _pause(self) -> bool:
        """Leave a checkpoint to continue at. Returns whether it was written: the trial goes on if
        it was not."""
        checkpoints = self._checkpoints
        if checkpoints is None or not checkpoints.write(self._record(checkpoints.trial)):
            return False
        self.recorder.environment[PAUSED_AT_STEP] = self._loop.step
        return True

    def _write_checkpoint_if_due(self, checkpoints: Checkpoints) -> None:
        is_due = checkpoints.is_due(self.seconds - self._checkpoint_at)
        if is_due and checkpoints.write(self._record(checkpoints.trial)):
            self._checkpoint_at = self.seconds

    def _record(self, trial: int) -> RunRecord:
        return RunRecord(
            trial=trial,
            step=self._loop.step,
            examples=self.examples,
            setup_seconds=self.recorder.seconds[SETUP],
            windows=tuple(self.windows),
            restart_overhead=self._restart_overhead,
            reference_seconds=tuple(self.reference.seconds),
            reference_warmup=tuple(self.reference.warmup),
            reference_at=self._reference_at,
            joules=self.meter.joules,
            result=self.recorder.result(),
            best=None if self._best is None else self._best.evaluation,
        )

    def _set_record(self, record: RunRecord) -> None:
        """Continue after ``record``. The model was set up again, which a run that is not
        interrupted does once: the time and energy of the first time count."""
        recorder, reference = self.recorder, self.reference
        self._loop = TrainingLoop(
            self.state, self.plan, self.meter, start=record.step, examples=record.examples
        )
        self.windows = list(record.windows)
        self._restart_overhead = record.restart_overhead
        self._reference_at, self._checkpoint_at = record.reference_at, self.seconds
        if steady := [window for window in self.windows if window.is_steady]:
            seconds = sum(window.seconds for window in steady)
            self._rate_before_restart = sum(window.examples for window in steady) / seconds
        reference.seconds = list(record.reference_seconds)
        reference.warmup = list(record.reference_warmup)
        self.meter.joules = record.joules
        recorder.seconds[SETUP] = record.setup_seconds
        recorder.measurements.update(record.result.measurements)
        recorder.curve[:0] = record.result.curve
        recorder.events[:0] = record.result.events

    def _measure_reference_if_due(self) -> None:
        if self.seconds - self._reference_at >= REFERENCE_INTERVAL_SECONDS:
            self.reference.measure()
            self._reference_at = self.seconds

    def _scores(self, step: int) -> dict[str, float]:
        """The scores after ``step`` if it is a rung or evaluation."""
        is_evaluation = step in self.plan.evaluations
        if not is_evaluation and step not in self.plan.rungs:
            return {}
        split = self.data.validation if is_evaluation else self.data.rung
        measurements, _ = evaluate_split(self.state.unsharded(), self.data, split)
        scores = {score.name: score.value for score in measurements}
        if is_evaluation and self._best is not None:
            self._best.offer(self.state.model, step, scores)
        return scores

    def _restore_best(self) -> None:
        assert self._best is not None
        best = self._best.restore(self.state.model)
        self.recorder.environment[BEST_STEP] = best.step
        self.recorder.add_event(
            "best",
            f"the evaluation after step {best.step} of {self.plan.steps} was the best: its weights "
            "count",
        )

    @property
    def _best(self) -> BestCheckpoint | None:
        return None if self._checkpoints is None else self._checkpoints.best


def evaluate_split(
    state: TrainState, data: TrialData, split: Split
) -> tuple[list[Measurement], Predictions]:
    """Scores and mean loss on ``split``, and the predictions, with the threshold of the task.

    Raises :class:`NanLoss` if a loss is not finite.
    """
    predictions, kind = _predict_split(state, data, split), data.prepared.kind
    tuning = predictions
    is_test = split is data.evaluation and split is not data.validation
    if data.prepared.threshold == TUNED and is_test:
        tuning = _predict_split(state, data, data.validation)
    threshold = choose_threshold(
        data.prepared, data.validation if is_test else split, tuning.values
    )
    predictions = predictions.at_threshold(kind, split, threshold)
    return evaluation.score(predictions, split, data.prepared), predictions


def _predict_split(state: TrainState, data: TrialData, split: Split) -> Predictions:
    collate = data.eval_collator(split)
    return evaluation.predict(state.model, state.precision, collate, state.group, state.loss)
