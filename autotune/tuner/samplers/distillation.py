"""Proposes strategies with ``distillation`` once the study has a teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from autotune.domain import Strategy, Study, Trial
from autotune.ports import Sampler
from autotune.tuner.teacher import find_teacher

LEVERS = ("distillation", "distillation_temperature")


class DistillationSampler:
    """One sampler for the space without distillation, and one for all of it. Both see the whole
    history, so that the proposals are a pure function of it."""

    def __init__(self, study: Study, make: Callable[[Study], Sampler]) -> None:
        self._study = study
        dimensions = tuple(d for d in study.space.dimensions if d.lever not in LEVERS)
        space = replace(study.space, dimensions=dimensions)
        self._before, self._after = make(replace(study, space=space)), make(study)

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        """The next strategy; ``None`` if the space is exhausted."""
        has_teacher = find_teacher(self._study, history) is not None
        return (self._after if has_teacher else self._before).ask(history)
