"""Recipes before the proposals of a sampler."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.domain import Strategy, Study, Trial, WorkloadProfile
from autotune.levers import training_key
from autotune.levers.recipes import make_recipes
from autotune.ports import Sampler
from autotune.tuner.samplers.common import TriedStrategies
from autotune.tuner.samplers.probes import with_fastest_settings

MAX_BUDGET_SHARE = 1 / 3
"""Recipes use at most this share of a budget of trials."""


class RecipeSampler:
    """Proposes the recipes that were not tried, then what ``sampler`` proposes."""

    def __init__(self, study: Study, sampler: Sampler, workload: WorkloadProfile | None) -> None:
        recipes = make_recipes(study.space, workload, study.start_with)
        if study.budget.trials is not None:
            recipes = recipes[: int(study.budget.trials * MAX_BUDGET_SHARE)]
        self._study, self._recipes, self._sampler = study, recipes, sampler
        self._training_keys = TriedStrategies(training_key)

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        tried = self._training_keys.keys(history)
        for recipe in self._recipes:
            if training_key(recipe) not in tried:
                return with_fastest_settings(recipe, self._study, history)
        return self._sampler.ask(history)
