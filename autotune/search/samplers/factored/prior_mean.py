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
from autotune.domain.metrics import METRICS
from autotune.search.feasibility.flops import inference_flops, training_flops
from autotune.search.samplers.factored.gaussian_process import Floats
from autotune.search.samplers.factored.observations import Group

FLOPS: Mapping[str, Callable[[WorkloadProfile, Strategy], float]] = {
    "training": training_flops,
    "inference": inference_flops,
}
"""Operations per sample, by the ``proportional_to`` of a metric's record."""


class FlopsPriorMean:
    """Of the strategies of a task with this ``anatomy``; without one nothing is expected."""

    def __init__(self, anatomy: WorkloadProfile | None) -> None:
        self._anatomy = anatomy
        self._known: dict[str, dict[Group, float]] = {}

    def of(self, leaf: str, groups: Sequence[Group], members: Sequence[Strategy]) -> Floats:
        """What ``leaf`` is in proportion to for a member of each group, shape (groups,): 1 for all
        where nothing is expected. The members of a group agree on all levers that matter here."""
        metric = METRICS.get(leaf)
        if self._anatomy is None or metric is None or metric.proportional_to is None:
            return np.ones(len(members))
        known, work = self._known.setdefault(leaf, {}), FLOPS[metric.proportional_to]
        sign = -1 if metric.is_rate else 1
        for group, member in zip(groups, members, strict=True):
            if group not in known:
                known[group] = work(self._anatomy, member) ** float(sign)
        return np.array([known[group] for group in groups])
