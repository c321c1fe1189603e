"""Imports the trials of the study that this one starts from (``warm_start``)."""

from __future__ import annotations

from autotune.ports import Proposal
from autotune.tuner.turn import Turn
from autotune.tuner.warm_start import SourceStudy, can_import, next_import


class Imports:
    """Proposes the trials of ``source`` with their outcomes, as soon as they can be imported."""

    def __init__(self, source: SourceStudy | None = None) -> None:
        self._source = source

    def next(self, turn: Turn) -> Proposal | None:
        """The next trial to import; ``None`` if there is none, or not yet."""
        if self._source is None or not can_import(self._source, turn.study, turn.history):
            return None
        proposal = next_import(self._source, turn.study, turn.history, turn.price)
        if proposal is None:
            self._source = None  # everything is imported: no need to compare again
        return proposal
