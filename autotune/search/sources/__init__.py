"""The reasons to start a trial, one module each, in the order in which a driver asks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autotune.search.sources.base import Choice, Done, StartQueued, TrialSource, Wait
from autotune.search.sources.confirmations import Confirmations
from autotune.search.sources.imports import Imports
from autotune.search.sources.paused import PausedTrials
from autotune.search.sources.queue import TrialQueue
from autotune.search.sources.reruns import IsolatedReruns, IsolationGuard
from autotune.search.sources.sampled import SampledTrials


@dataclass(frozen=True)
class TrialSources:
    """The trial sources of one session. Iteration yields them in order of priority."""

    imports: Imports
    queue: TrialQueue
    paused: PausedTrials
    sampled: SampledTrials

    def __iter__(self) -> Iterator[TrialSource]:
        yield self.imports
        yield IsolationGuard()
        yield self.queue
        yield self.paused
        yield self.sampled
        yield IsolatedReruns()
        yield Confirmations()


__all__ = [
    "Choice",
    "Confirmations",
    "Done",
    "Imports",
    "IsolatedReruns",
    "IsolationGuard",
    "PausedTrials",
    "SampledTrials",
    "StartQueued",
    "TrialQueue",
    "TrialSource",
    "TrialSources",
    "Wait",
]
