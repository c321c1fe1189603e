"""The rest of training runs that early stopping has paused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from autotune.domain import PAUSED_AT_STEP, Phase, State, Study, Trial, TrialOrigin
from autotune.ports import Proposal, Store
from autotune.tuner.cache import measured_phases
from autotune.tuner.pausing import Outlook, choose_continuation
from autotune.tuner.turn import Turn

MAX_OPEN_TRIALS = 8
"""Only the latest paused trials are considered: each is estimated before every trial."""


class PausedTrials:
    """Continues a paused trial when its time is worth more than that of a new strategy, and the
    promising ones at the end of the search.

    ``outlook`` estimates what continuing a trial is expected to gain, given the trial that measured
    its profile phase.
    """

    def __init__(
        self, study: Study, store: Store, outlook: Callable[[Trial, Trial], Outlook | None]
    ) -> None:
        self._study, self._store, self._outlook = study, store, outlook
        self._paused: dict[int, bool] = {}

    def next(self, turn: Turn) -> Proposal | None:
        """The trial to continue; ``None`` if none is worth it now."""
        if any(trial.is_confirmation for trial in turn.history):
            return None  # the finalists have been chosen
        latest = list(self._open_trials(turn))[-MAX_OPEN_TRIALS:]
        trials = {trial.number: trial for trial in latest}
        profiles = {trial.number: _profile_source(trial, turn) for trial in latest}
        outlooks = {n: self._outlook(trial, profiles[n]) for n, trial in trials.items()}

        def fits(number: int, seconds: float) -> bool:
            minutes = turn.minutes_left(trials[number].strategy)
            setup_seconds = profiles[number].metric("setup_seconds") or 0.0
            return minutes is None or minutes * 60 >= seconds + setup_seconds

        number = choose_continuation(
            turn.study,
            {number: outlook for number, outlook in outlooks.items() if outlook is not None},
            turn.history,
            has_ended=turn.search_end is not None,
            fits=fits,
        )
        if number is None:
            return None
        return Proposal(trials[number].strategy, TrialOrigin.CONTINUED, trials[number].seed)

    def _open_trials(self, turn: Turn) -> Iterator[Trial]:
        """Paused trials whose strategy has no later trial, except one that was interrupted."""
        latest = {(t.strategy.key, t.seed): t for t in turn.history if t.is_informative}
        for trial in sorted(latest.values(), key=lambda trial: trial.number):
            if trial.state is not State.PRUNED or not self._is_paused(trial.number):
                continue
            if turn.cache.find(trial.strategy, trial.seed).train is None:
                yield trial

    def _is_paused(self, number: int) -> bool:
        """Whether a trial that was stopped early left a checkpoint."""
        if number not in self._paused:
            environment = self._store.trial(self._study.name, number).result.environment
            self._paused[number] = PAUSED_AT_STEP in environment
        return self._paused[number]


def _profile_source(trial: Trial, turn: Turn) -> Trial:
    """The trial that measured the profile phase of ``trial``: itself, or one that shares it."""
    if Phase.PROFILE in measured_phases(trial):
        return trial
    return turn.cache.find(trial.strategy, trial.seed).profile or trial
