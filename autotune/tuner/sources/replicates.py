"""Replicates: strategies near a bound again, with another seed, on the validation split."""

from __future__ import annotations

from autotune.domain import State, Strategy, TrialOrigin
from autotune.ports import Proposal
from autotune.tuner.replication import choose_replicate
from autotune.tuner.turn import Turn

MIN_BUDGET_SHARE = 0.6
"""The share of the budget for searching that is used before the first replicate: what is run again
earlier is often surpassed later."""


class SeedReplicates:
    """Proposes a replicate when it is expected to improve what can be recommended by more per
    second than a new strategy. One at a time: the next one depends on its result."""

    def next(self, turn: Turn) -> Proposal | None:
        """The replicate to run now, while the budget for searching lasts."""
        if turn.search_end is not None or _used_share(turn) < MIN_BUDGET_SHARE:
            return None
        if any(
            trial.origin is TrialOrigin.REPLICATE and trial.state is State.RUNNING
            for trial in turn.unfinished
        ):
            return None

        def fits(strategy: Strategy, seconds: float, runs: int) -> bool:
            minutes, trials = turn.minutes_left(strategy), turn.search_budget.trials
            has_time = minutes is None or minutes * 60 >= seconds
            return has_time and (trials is None or turn.usage.trials + runs <= trials)

        run = choose_replicate(turn.study, turn.history, fits)
        return None if run is None else Proposal(run[0], TrialOrigin.REPLICATE, run[1])


def _used_share(turn: Turn) -> float:
    """The share of the budget for searching that is used; 1 without a limit."""
    usage, budget = turn.usage, turn.search_budget
    limits = (
        (usage.trials, budget.trials), (usage.seconds / 60, budget.minutes), (usage.usd, budget.usd)
    )  # fmt: skip
    return max((used / limit for used, limit in limits if limit), default=1.0)
