"""New strategies from the sampler."""

from __future__ import annotations

from autotune.domain import Strategy, TrialOrigin
from autotune.ports import Proposal, Sampler
from autotune.tuner.sources.base import Done
from autotune.tuner.turn import Turn

NO_FIT = "no other strategy is predicted to fit in the remaining budget"


class SampledTrials:
    """Proposes what the sampler proposes, or a similar strategy that fits in the remaining time."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._retryable: frozenset[int] = frozenset()

    def begin(self, turn: Turn) -> None:
        """Note at the start of a session which trials are infeasible only because of a limit that
        has been raised since: the sampler can propose their strategies again."""
        if turn.feasibility is not None:
            self._retryable = frozenset(turn.feasibility.retryable(turn.history))

    def next(self, turn: Turn) -> Proposal | Done | None:
        """The next strategy; ``None`` at the end of the search or of the space.

        A strategy that is predicted not to fit is proposed with its outcome, so that the sampler
        learns from it.
        """
        if turn.search_end is not None:
            return None
        history = turn.history
        if self._retryable:
            history = [trial for trial in history if trial.number not in self._retryable]
        strategy, seed = self._sampler.ask(history), turn.study.task.seed
        if strategy is None:
            return None
        if turn.feasibility is None:
            return Proposal(strategy, TrialOrigin.SAMPLED, seed)
        fitting = _in_time(turn, strategy, seed)
        if fitting is None:
            return Done(NO_FIT)
        phases = turn.cache.find(fitting, seed).phases_to_run
        outcome = turn.feasibility.check(fitting, turn.history, phases) if phases else None
        return Proposal(fitting, TrialOrigin.SAMPLED, seed, outcome)


def _in_time(turn: Turn, strategy: Strategy, seed: int) -> Strategy | None:
    """``strategy``, or a similar one, that ends within the budget; ``None`` if there is none."""
    if turn.feasibility is None or turn.cache.find(strategy, seed).train is not None:
        return strategy  # without training it takes seconds
    return turn.feasibility.find_affordable(strategy, turn.history, turn.minutes_left(strategy))
