"""Recipes before the proposals of a sampler."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.domain import Phase, Strategy, Study, Trial, WorkloadProfile
from autotune.domain.metrics import get_metric
from autotune.levers import training_key
from autotune.levers.recipes import make_deployments, make_recipes
from autotune.ports import Sampler
from autotune.tuner.samplers.common import TriedStrategies
from autotune.tuner.samplers.probes import with_fastest_settings

MAX_BUDGET_SHARE = 1 / 3
"""Recipes and deployments use at most this share of a budget of trials."""


class RecipeSampler:
    """Proposes the recipes that were not tried, then what ``sampler`` proposes.

    A study with deployments begins with those of the default's model. Recipes of training follow
    where the speed or the result of training counts.
    """

    def __init__(self, study: Study, sampler: Sampler, workload: WorkloadProfile | None) -> None:
        deployments = make_deployments(study.space) if study.deploys else ()
        recipes = make_recipes(study.space, workload, study.start_with)
        if _is_about_deployments(study):
            recipes = ()
        if study.budget.trials is not None:
            count = int(study.budget.trials * MAX_BUDGET_SHARE)
            deployments, recipes = deployments[:count], recipes[: max(count - len(deployments), 0)]
        self._study, self._sampler = study, sampler
        self._deployments, self._recipes = deployments, recipes
        self._tried = TriedStrategies()
        self._training_keys = TriedStrategies(training_key)

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        tried = self._tried.keys(history)
        for deployment in self._deployments:
            if deployment.key not in tried:
                return deployment
        trained = self._training_keys.keys(history)
        for recipe in self._recipes:
            if training_key(recipe) not in trained:
                return with_fastest_settings(recipe, self._study, history)
        return self._sampler.ask(history)


def _is_about_deployments(study: Study) -> bool:
    """Whether all objectives and constraints are measured on deployed models."""
    return all(get_metric(name).phase is Phase.DEPLOY for name in study.target_metrics)
