"""Proposes strategies with ``distillation`` once the study has a teacher, or one of few trained
models has to be it because no other strategy is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from autotune.domain import Strategy, Study, Trial
from autotune.ports import Sampler
from autotune.tuner.teacher import find_available_candidate, find_teacher

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
        if find_teacher(self._study, history) is not None:
            return self._after.ask(history)
        strategy = self._before.ask(history)
        if strategy is None and _can_choose(self._study, history):
            return self._after.ask(history)
        return strategy


def _can_choose(study: Study, history: Sequence[Trial]) -> bool:
    """Whether the teacher can be chosen from few models, because there will be no others."""
    has_ended = all(trial.state.is_finished for trial in history)
    return has_ended and find_available_candidate(study, history) is not None
