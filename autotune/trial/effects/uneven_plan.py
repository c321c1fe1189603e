"""Which heads and neurons of a trained encoder to keep, unevenly over its layers.

Kwon and others, "A Fast Post-Training Pruning Framework for Transformers" (2022): the loss of
removing units is the sum of their Fisher scores, and the time that it saves is that of a table.
Choosing one number of heads and one of neurons for each layer, so that the loss is the smallest for
the time to save, is a knapsack with several choices, which is solved exactly up to a thousandth of
that time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autotune.errors import Unsupported
from autotune.trial.effects.latency_table import LatencyTable
from autotune.trial.effects.pruning_plan import PruningPlan
from autotune.trial.effects.pruning_scores import LayerScores

STEPS = 1000
"""Parts of the time to save: the resolution of the solution."""


@dataclass(frozen=True)
class Choice:
    """A number of units to keep, the steps of time that it saves, and the loss of removing the
    others."""

    units: int
    saving: int
    loss: float


def uneven_plan(
    scores: Sequence[LayerScores], tables: Sequence[LatencyTable], ratio: float
) -> PruningPlan:
    """The plan that removes ``ratio`` (above 0) of the time of all layers at the smallest sum of
    scores. Both lists have an entry for each layer.

    Raises :class:`Unsupported` if the smallest layers take longer.
    """
    target = ratio * sum(table.seconds for table in tables)
    groups = [
        _choices(importances, seconds, target / STEPS)
        for layer, table in zip(scores, tables, strict=True)
        for importances, seconds in (
            (layer.heads.tolist(), table.heads),
            (layer.neurons.tolist(), table.neurons),
        )
    ]
    most = sum(max(choice.saving for choice in group) for group in groups)
    if most < STEPS:
        raise Unsupported(
            f"post_pruning_ratio {ratio:g}: the smallest layers save {ratio * most / STEPS:.0%} of "
            "their time on this host",
            hint="choose a smaller ratio",
        )
    counts = _cheapest(groups)
    return PruningPlan(
        layers=list(range(len(scores))),
        heads=[_best(s.heads.tolist(), n) for s, n in zip(scores, counts[::2], strict=True)],
        neurons=[_best(s.neurons.tolist(), n) for s, n in zip(scores, counts[1::2], strict=True)],
    )


def _choices(scores: Sequence[float], seconds: Mapping[int, float], step: float) -> list[Choice]:
    full = max(seconds.values())
    losses = np.concatenate([[0.0], np.cumsum(np.sort(scores))])
    return [
        Choice(units, int((full - time) / step), float(losses[len(scores) - units]))
        for units, time in seconds.items()
    ]


def _cheapest(groups: Sequence[Sequence[Choice]]) -> list[int]:
    """One number of units for each group: together they save at least :data:`STEPS` at the smallest
    loss."""
    losses = np.full(STEPS + 1, np.inf)
    losses[0] = 0.0
    chosen = []
    for group in groups:
        options = np.stack([_shifted(losses, choice) for choice in group])
        chosen.append(options.argmin(axis=0))
        losses = options.min(axis=0)
    units, saved = [], STEPS
    for group, best in zip(reversed(groups), reversed(chosen), strict=True):
        choice = group[best[saved]]
        units.append(choice.units)
        saved = max(saved - choice.saving, 0)
    return units[::-1]


def _shifted(losses: np.ndarray, choice: Choice) -> np.ndarray:
    """The loss for each saving (that much or more) if ``choice`` is added to earlier groups."""
    needed = np.maximum(np.arange(STEPS + 1) - choice.saving, 0)
    return np.asarray(losses[needed] + choice.loss)


def _best(scores: Sequence[float], count: int) -> list[int]:
    order = np.argsort(-np.asarray(scores), kind="stable")[:count]
    return sorted(order.tolist())
