"""What a trial source is, and what it can answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from autotune.ports import Proposal
from autotune.tuner.turn import Turn


@dataclass(frozen=True)
class StartQueued:
    """Start the queued trial with the lowest number."""


@dataclass(frozen=True)
class Wait:
    """Start nothing until the study changes."""

    reason: str


@dataclass(frozen=True)
class Done:
    """Try no new strategies in this run. The sources that follow are still asked."""

    reason: str


Choice = Proposal | StartQueued | Wait | Done | None
"""The answer of a source; ``None`` leaves the choice to the next source."""


class TrialSource(Protocol):
    """One reason to start a trial."""

    def next(self, turn: Turn) -> Choice:
        """What to start now."""
