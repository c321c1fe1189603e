"""The reasons to start a trial, one module each, in the order in which a driver asks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autotune.tuner.sources.base import Choice, Done, StartQueued, TrialSource, Wait
from autotune.tuner.sources.confirmations import Confirmations
from autotune.tuner.sources.imports import Imports
from autotune.tuner.sources.paused import PausedTrials
from autotune.tuner.sources.queue import TrialQueue
from autotune.tuner.sources.replicates import SeedReplicates
from autotune.tuner.sources.reruns import IsolatedReruns, IsolationGuard
from autotune.tuner.sources.sampled import SampledTrials


@dataclass(frozen=True)
class TrialSources:
    """The trial sources of one session. Iteration yields them in order of priority.

    ``replicates``: whether strategies near a bound are run again with other seeds.
    """

    imports: Imports
    queue: TrialQueue
    paused: PausedTrials
    sampled: SampledTrials
    replicates: bool = True

    def __iter__(self) -> Iterator[TrialSource]:
        yield self.imports
        yield IsolationGuard()
        yield self.queue
        yield self.paused
        if self.replicates:
            yield SeedReplicates()
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
    "SeedReplicates",
    "StartQueued",
    "TrialQueue",
    "TrialSource",
    "TrialSources",
    "Wait",
]
