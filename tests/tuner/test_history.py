"""The incremental history of a study equals what all its trials say together."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from autotune.analysis.budget import BudgetUsage
from autotune.domain import Interrupted, State, Strategy, Trial, TrialOrigin
from autotune.ports import Store
from autotune.tuner.history import History
from tests.tuner.small_study import finished_trial


class ChangingStore:
    """A store that offers :meth:`trials_since` only."""

    def __init__(self) -> None:
        self.trials: dict[int, tuple[int, Trial]] = {}
        self._revision = 0

    def put(self, trial: Trial) -> None:
        self._revision += 1
        self.trials[trial.number] = self._revision, trial

    def trials_since(self, study: str, cursor: int) -> tuple[Sequence[Trial], int]:
        changes = [trial for revision, trial in self.trials.values() if revision > cursor]
        return sorted(changes, key=lambda trial: trial.number), self._revision


def change(store: ChangingStore, rng: random.Random) -> None:
    """A trial starts, a running one ends, or an interrupted one gets its result after all."""
    complete = finished_trial(len(store.trials), Strategy({"pruning_ratio": 0.0, "threads": 1,
                              "learning_rate": 2e-4, "precision": "fp32"}))  # fmt: skip
    states = (State.RUNNING, State.INTERRUPTED)
    started = [t for _, t in store.trials.values() if t.state in states]
    if not started or rng.random() < 0.5:
        number, strategy = complete.number, complete.strategy
        store.put(Trial(number, State.RUNNING, strategy, origin=TrialOrigin.SAMPLED))
        return
    trial = rng.choice(started)
    if trial.state is State.RUNNING and rng.random() < 0.3:
        store.put(trial.finish(Interrupted("its driver is gone"), datetime.now(UTC)))
    else:
        store.put(finished_trial(trial.number, trial.strategy))


def test_totals_follow_the_changes() -> None:
    rng, store = random.Random(5), ChangingStore()
    history = History(cast(Store, cast(Any, store)), "any")
    changes: list[Trial] = []
    for _ in range(200):
        for _ in range(rng.randrange(4)):
            change(store, rng)
        snapshot = history.snapshot()
        trials = snapshot.trials
        changes += history.drain_changes()
        assert snapshot.counted_trials == BudgetUsage(trials, None).trials
        unfinished = [trial for trial in trials if not trial.state.is_finished]
        assert sorted(snapshot.unfinished, key=lambda trial: trial.number) == unfinished
    assert {t.number: t for t in changes} == {t.number: t for t in history.refresh()}
    assert history.drain_changes() == []
