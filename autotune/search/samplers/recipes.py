"""Recipes before the proposals of a sampler."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.domain import Strategy, Study, Trial, WorkloadProfile
from autotune.levers.recipes import make_recipes
from autotune.ports import Sampler
from autotune.search.samplers.common import TriedStrategies

MAX_BUDGET_SHARE = 1 / 3
"""Recipes use at most this share of a budget of trials."""


class RecipeSampler:
    """Proposes the recipes that were not tried, then what ``sampler`` proposes."""

    def __init__(self, study: Study, sampler: Sampler, workload: WorkloadProfile | None) -> None:
        recipes = make_recipes(study.space, workload)
        if study.budget.trials is not None:
            recipes = recipes[: int(study.budget.trials * MAX_BUDGET_SHARE)]
        self._recipes, self._sampler = recipes, sampler
        self._tried = TriedStrategies()

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        tried = self._tried.keys(history)
        untried = next((recipe for recipe in self._recipes if recipe.key not in tried), None)
        return untried or self._sampler.ask(history)
