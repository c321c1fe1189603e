"""SeedReplicates: strategies near a bound again, with another seed, on the validation split."""

from __future__ import annotations

from autotune.domain import State, Strategy, TrialOrigin
from autotune.ports import Proposal
from autotune.tuner.replication import choose_replicate
from autotune.tuner.turn import Turn


class SeedReplicates:
    """Proposes a replicate when it is expected to improve what can be recommended by more per
    second than a new strategy. One at a time: the next one depends on its result."""

    def next(self, turn: Turn) -> Proposal | None:
        """The replicate to run now, while the budget for searching lasts."""
        if turn.search_end is not None or any(
            trial.origin is TrialOrigin.REPLICATE and trial.state is State.RUNNING
            for trial in turn.unfinished
        ):
            return None

        def fits(strategy: Strategy, seconds: float) -> bool:
            minutes = turn.minutes_left(strategy)
            return minutes is None or minutes * 60 >= seconds

        run = choose_replicate(turn.study, turn.history, fits)
        return None if run is None else Proposal(run[0], TrialOrigin.REPLICATE, run[1])
