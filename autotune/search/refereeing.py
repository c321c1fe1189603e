"""Gathers what the rules of early stopping go by, and asks them at each probe and rung."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.domain import CurvePoint, Job, Study, Trial
from autotune.errors import StoreUnavailableError
from autotune.ports import Store
from autotune.search.history import History
from autotune.search.sharing import Known
from autotune.search.stopping import NEVER_STOPPED, RULES, Ceiling, Curves, standing

FEW = 8
"""So many curves are read one by one, more of them in one go."""


class Referee:
    """Judges running trials by what the store holds of all others."""

    def __init__(self, study: Study, store: Store, history: History, ceiling: Ceiling) -> None:
        self._study, self._store, self._history = study, store, history
        self._ceiling = ceiling
        self._curves = Curves()

    def judge(self, trial: Trial, job: Job, point: CurvePoint, known: Known) -> str | None:
        """A reason to stop ``trial`` at ``point``; ``None`` where it may still matter."""
        self._curves.add(job.trial, point)
        rule = RULES.get(self._study.stopping)
        if rule is None or not point.metrics or trial.origin in NEVER_STOPPED:
            return None
        if "training" not in job.measure:
            return None  # a probe alone is over by now
        try:
            history = self._history.refresh()
            self._listen_to(self._curves.unheard(history))
        except StoreUnavailableError:
            return None  # nothing speaks against the trial while nobody knows
        shared = known.speed.metrics if known.speed is not None else {}
        here = standing(trial.strategy, self._curves.of(trial.number), shared)
        return rule(self._study, here, history, self._curves, self._ceiling)

    def _listen_to(self, numbers: Sequence[int]) -> None:
        """Read how the trials of an earlier session, or of another driver, went."""
        if len(numbers) > FEW:
            curves = self._store.curves(self._study.name)
        else:
            curves = {n: self._store.trial(self._study.name, n).evidence.curve for n in numbers}
        for number in numbers:
            self._curves.add(number, *curves.get(number, ()))
