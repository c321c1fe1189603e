"""What a search keeps up with the changes is what all trials say together."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from autotune.analysis.budget import BudgetUsage
from autotune.domain import Interrupted, State, Strategy, Trial, TrialOrigin
from autotune.ports import Store
from autotune.search.history import History
from tests.search.small_study import finished_trial


class Changes:
    """A store whose trials change as it is told, seen through :meth:`trials_since` alone."""

    def __init__(self) -> None:
        self.trials: dict[int, tuple[int, Trial]] = {}
        self._revision = 0

    def put(self, trial: Trial) -> None:
        self._revision += 1
        self.trials[trial.number] = self._revision, trial

    def trials_since(self, study: str, cursor: int) -> tuple[Sequence[Trial], int]:
        found = [trial for revision, trial in self.trials.values() if revision > cursor]
        return sorted(found, key=lambda trial: trial.number), self._revision


def change(store: Changes, chance: random.Random) -> None:
    """A trial begins, or one that was begun ends, or one that was given up comes back."""
    ended = finished_trial(len(store.trials), Strategy({"pruning_ratio": 0.0, "threads": 1,
                           "learning_rate": 2e-4, "precision": "fp32"}))  # fmt: skip
    begun = [t for _, t in store.trials.values() if t.state in (State.RUNNING, State.INTERRUPTED)]
    if not begun or chance.random() < 0.5:
        store.put(Trial(ended.number, State.RUNNING, ended.strategy, origin=TrialOrigin.SAMPLED))
        return
    trial = chance.choice(begun)
    if trial.state is State.RUNNING and chance.random() < 0.3:
        store.put(trial.finished(Interrupted("its driver went away"), datetime.now(UTC)))
    else:
        store.put(finished_trial(trial.number, trial.strategy))


def test_sums_follow_the_changes() -> None:
    chance, store = random.Random(5), Changes()
    history = History(cast(Store, cast(Any, store)), "any")
    news: list[Trial] = []
    for _ in range(200):
        for _ in range(chance.randrange(4)):
            change(store, chance)
        snapshot = history.snapshot()
        trials = snapshot.trials
        news += history.drain_changes()
        assert snapshot.counted_trials == BudgetUsage(trials, None).trials
        unfinished = [trial for trial in trials if not trial.state.finished]
        assert sorted(snapshot.unfinished, key=lambda trial: trial.number) == unfinished
    assert {trial.number: trial for trial in news} == {t.number: t for t in history.refresh()}
    assert history.drain_changes() == []
