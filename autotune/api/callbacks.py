"""Functions of the user that run during a search."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.analysis.snapshot import Snapshot
from autotune.domain import CurvePoint, Study, Trial


class Callback:
    """Override the methods of interest and pass an object to :func:`autotune.search`.

    They run in the driver, between trials or while one runs. An exception ends the search; results
    so far are stored.
    """

    def on_trial_start(self, study: Study, trial: Trial) -> None:
        """A trial has been started."""

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """A trial has ended, whatever its outcome."""

    def on_front_change(self, study: Study, front: Sequence[Trial]) -> None:
        """The Pareto front has other members than before."""


class CallbackObserver:
    """Calls callbacks when the search notifies it. ``trials`` are those stored before."""

    def __init__(
        self, callbacks: Sequence[Callback], study: Study, trials: Sequence[Trial]
    ) -> None:
        self._callbacks, self._study = callbacks, study
        self._trials = {trial.number: trial for trial in trials}
        self._front = self._front_numbers()

    def started(self, trial: Trial) -> None:
        self._trials[trial.number] = trial
        for callback in self._callbacks:
            callback.on_trial_start(self._study, trial)

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        pass

    def finished(self, trial: Trial) -> None:
        self._trials[trial.number] = trial
        for callback in self._callbacks:
            callback.on_trial_end(self._study, trial)
        front = self._front_numbers()
        if front != self._front:
            self._front = front
            for callback in self._callbacks:
                callback.on_front_change(self._study, [self._trials[n] for n in front])

    def _front_numbers(self) -> list[int]:
        trials = [self._trials[number] for number in sorted(self._trials)]
        return [trial.number for trial in Snapshot(self._study, trials).front]
