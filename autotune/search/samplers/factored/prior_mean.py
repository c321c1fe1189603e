"""What is expected of a quantity before it is measured: speeds and latencies go by the operations
that an example takes.

The models learn how far a strategy is from that, and begin at "not at all". So pruning is tried
early because it spares work, and checkpointing late because it repeats some; and where a machine
does not reward what spares work, the first measurements say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autotune.domain import Strategy, WorkloadProfile
from autotune.search.feasibility.flops import inference_work, training_work
from autotune.search.samplers.factored.gaussian_process import Floats
from autotune.search.samplers.factored.observations import Group

Work = Callable[[WorkloadProfile, Strategy], float]

EXPECTED: Mapping[str, tuple[Work, int]] = {
    "train_samples_per_second": (training_work, -1),
    "relative_speed": (training_work, -1),
    "inference_samples_per_second": (inference_work, -1),
    "inference_latency_ms": (inference_work, 1),
    "inference_latency_p95_ms": (inference_work, 1),
    "inference_usd_per_million": (inference_work, 1),
}
"""What a leaf is in proportion to: some work, or its inverse."""


class FlopsPriorMean:
    """Of the strategies of a task with this ``anatomy``; without one nothing is expected."""

    def __init__(self, anatomy: WorkloadProfile | None) -> None:
        self._anatomy = anatomy
        self._known: dict[str, dict[Group, float]] = {leaf: {} for leaf in EXPECTED}

    def of(self, leaf: str, groups: Sequence[Group], members: Sequence[Strategy]) -> Floats:
        """What ``leaf`` is in proportion to for a member of each group, shape (groups,): 1 for all
        where nothing is expected. The members of a group agree on all levers that matter here."""
        if self._anatomy is None or leaf not in EXPECTED:
            return np.ones(len(members))
        known, (work, sign) = self._known[leaf], EXPECTED[leaf]
        for group, member in zip(groups, members, strict=True):
            if group not in known:
                known[group] = work(self._anatomy, member) ** float(sign)
        return np.array([known[group] for group in groups])
