"""Recipes before the proposals of a sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from autotune.domain import (
    Budget,
    Categorical,
    Dimension,
    Objective,
    SamplerConfig,
    Strategy,
    Study,
    Trial,
)
from autotune.levers import training_key
from autotune.levers.recipes import make_recipes
from autotune.tuner.samplers.probes import ProbeSampler
from autotune.tuner.samplers.recipes import RecipeSampler
from autotune.tuner.samplers.registry import make_sampler
from tests.tuner.simulated_search import finished_trial


class NoSampler:
    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        return None


def with_recipes(study: Study, kind: str = "factored", trials: int | None = None) -> Study:
    return replace(
        study, sampler=SamplerConfig(kind, 0, recipes=True), budget=Budget(trials=trials)
    )


def ask_all(study: Study) -> list[Strategy]:
    sampler = RecipeSampler(study, NoSampler(), None)
    history: list[Trial] = []
    while (strategy := sampler.ask(history)) is not None:
        history.append(finished_trial(len(history), strategy, {}))
    return [trial.strategy for trial in history]


def test_each_recipe_is_proposed_once_and_then_the_sampler_decides(study: Study) -> None:
    assert ask_all(with_recipes(study)) == list(make_recipes(study.space, None)) != []


def test_a_fresh_sampler_goes_on_where_the_history_ends(study: Study) -> None:
    first, *rest = make_recipes(study.space, None)
    fresh = RecipeSampler(with_recipes(study), NoSampler(), None)
    assert fresh.ask([finished_trial(0, first, {})]) == (rest[0] if rest else None)


def test_recipes_use_a_third_of_the_trials_at_most(study: Study) -> None:
    assert len(ask_all(with_recipes(study, trials=3))) <= 1
    assert ask_all(with_recipes(study, trials=2)) == []


RUNTIMES = (
    Dimension("runtime", Categorical(("torch", "onnxruntime", "openvino"))),
    Dimension("quantization", Categorical(("none", "bf16", "int8-dynamic", "int8-static"))),
    Dimension("inference_padding", Categorical(("dynamic", "bucketed"))),
)


def with_deployments(study: Study, *metrics: str) -> Study:
    space = replace(study.space, dimensions=(*study.space.dimensions, *RUNTIMES))
    objectives = tuple(Objective(metric, "maximize") for metric in metrics)
    searched = replace(with_recipes(study), objectives=objectives, constraints=())
    return replace(searched, deploys=True, space=space)


def test_deployments_of_the_default_come_first_and_train_nothing(study: Study) -> None:
    searched = with_deployments(study, "latency_p50_ms", "deployed_accuracy")
    proposed = ask_all(searched)
    assert {training_key(strategy) for strategy in proposed} == {training_key(searched.baseline)}
    settings = [(s["runtime"], s["quantization"], s["inference_padding"]) for s in proposed]
    assert settings == [
        ("openvino", "int8-static", "bucketed"),
        ("onnxruntime", "int8-dynamic", "bucketed"),
        ("openvino", "bf16", "bucketed"),
    ]


def test_recipes_of_training_follow_where_training_counts(study: Study) -> None:
    searched = with_deployments(study, "latency_p50_ms", "accuracy")
    proposed = ask_all(searched)
    recipes = list(make_recipes(searched.space, None))
    assert recipes and proposed[3:] == recipes


def test_runtimes_that_are_not_searched_are_not_proposed(study: Study) -> None:
    searched = with_deployments(study, "latency_p50_ms")
    space = replace(searched.space, dimensions=(*study.space.dimensions, *RUNTIMES[1:]))
    assert ask_all(replace(searched, space=space)) == []


@pytest.mark.parametrize("kind", ["random", "grid", "qmc"])
def test_samplers_that_do_not_learn_have_no_recipes(study: Study, kind: str) -> None:
    assert not isinstance(make_sampler(with_recipes(study, kind)), ProbeSampler)
    assert isinstance(make_sampler(with_recipes(study)), ProbeSampler)
    assert not isinstance(make_sampler(study), ProbeSampler)
