"""Confirmations: the finalists again, with other seeds, evaluated on the test split."""

from __future__ import annotations

from autotune.domain import TrialOrigin
from autotune.ports import Proposal
from autotune.tuner.confirmation import next_confirmation
from autotune.tuner.turn import Turn


class Confirmations:
    """Confirms the finalists of a search that has ended."""

    def next(self, turn: Turn) -> Proposal | None:
        """The next finalist and seed, while any budget is left."""
        if turn.budget_end is not None:
            return None
        run = next_confirmation(turn.study, turn.history)
        return None if run is None else Proposal(run[0], TrialOrigin.CONFIRMATION, run[1])
