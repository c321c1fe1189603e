"""Recipes, and what is known of levers before a study measures anything."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotune.domain import (
    Categorical,
    Dimension,
    ForbiddenClause,
    Range,
    SearchSpace,
    Value,
    WorkloadProfile,
)
from autotune.domain.search_space import complete
from autotune.hardware import inventory
from autotune.levers import defaults
from autotune.levers.priors import (
    ACCURACY_EFFECTS,
    DEFAULT_DEVIATION,
    accuracy_effects,
    accuracy_log_odds,
    effect_deviation,
    typical_learning_rate,
)
from autotune.levers.recipes import make_recipes

MINILM = WorkloadProfile(
    embedding_parameters=11_918_592, layer_parameters=1_774_464, head_parameters=149_765,
    layers=6, hidden=384, heads=12, intermediate_size=1536, labels=2, label_per_token=False,
    dropout=True, train_samples=3000, validation_samples=1000, max_length=64, median=25, p95=45,
    longest=64, idle_gib=0.4,
)  # fmt: skip
RATES = Dimension("learning_rate", Range(2e-5, 2e-3, log=True))


def space(*dimensions: Dimension, rules: tuple[ForbiddenClause, ...] = ()) -> SearchSpace:
    return SearchSpace(dimensions, defaults(inventory()), rules)


SEARCHED = (
    Dimension("allocator", Categorical(("system", "tuned"))),
    Dimension("batch_size", Categorical((8, 16, 32, 64))),
    Dimension("padding", Categorical(("dynamic", "bucketed"))),
    Dimension("precision", Categorical(("fp32", "bf16", "bf16-pure"))),
    Dimension("pruning_ratio", Range(0.0, 0.75, step=0.25)),
    Dimension("pruning_method", Categorical(("structured", "layers")), "pruning_ratio > 0"),
    Dimension("freeze_layers", Categorical((0, 1, 2))),
    RATES,
)


def log_odds(**settings: Value) -> float:
    return accuracy_log_odds(complete(space(*SEARCHED), settings), MINILM)


def test_recipes_gain_speed_first_and_prune_at_most_a_quarter() -> None:
    recipes = make_recipes(space(*SEARCHED), MINILM)
    assert len(recipes) == 4
    assert {r["padding"] for r in recipes} == {"bucketed"}
    assert {r["allocator"] for r in recipes} == {"tuned"}
    assert {r["precision"] for r in recipes} == {"bf16", "bf16-pure"}
    assert max(float(r["pruning_ratio"]) for r in recipes) == 0.25
    assert (recipes[0]["pruning_method"], recipes[0]["freeze_layers"]) == ("layers", 1)
    assert all(1e-4 < float(r["learning_rate"]) < 5e-4 for r in recipes)


def test_a_lever_that_is_not_searched_stays_at_its_default() -> None:
    (recipe,) = make_recipes(
        space(Dimension("padding", Categorical(("dynamic", "bucketed")))), MINILM
    )
    assert recipe["padding"] == "bucketed"
    assert recipe["learning_rate"] == 5e-5


def test_recipes_stay_within_a_space_that_lacks_the_default() -> None:
    frozen = Dimension("freeze_layers", Categorical((1, 3)))
    rates = Dimension("learning_rate", Categorical((1e-3, 2e-3)))
    for workload in (MINILM, None):
        recipes = make_recipes(space(*SEARCHED[:5], frozen, rates), workload)
        assert {r["freeze_layers"] for r in recipes} == {1}
        assert {r["learning_rate"] for r in recipes} == {1e-3}


def test_forbidden_recipes_and_the_default_are_left_out() -> None:
    assert make_recipes(space(RATES), None) == ()
    rule = ForbiddenClause("padding == bucketed", "for the test")
    assert make_recipes(space(*SEARCHED, rules=(rule,)), MINILM) == ()


def test_typical_rates_shrink_with_the_width_and_with_more_steps() -> None:
    default = complete(space(*SEARCHED), {"batch_size": 16})
    small = typical_learning_rate(default, MINILM)
    assert small == pytest.approx(2e-4, rel=0.1)
    assert typical_learning_rate(default, replace(MINILM, hidden=768)) == pytest.approx(small / 4)
    assert typical_learning_rate(default.with_values(batch_size=32), MINILM) > small
    assert typical_learning_rate(default, replace(MINILM, steps=4000)) < small


def test_what_costs_accuracy_is_ordered_as_it_is_known_to_be() -> None:
    quarter, half = log_odds(pruning_ratio=0.25), log_odds(pruning_ratio=0.5)
    assert log_odds() > quarter > half > log_odds(pruning_ratio=0.75)
    assert quarter - half > log_odds() - quarter, "pruning costs more beyond a quarter"
    assert log_odds(padding="bucketed", precision="bf16", freeze_layers=1) == log_odds()
    assert log_odds(freeze_layers=2) < log_odds()
    assert log_odds(learning_rate=2e-3) < log_odds(learning_rate=2e-4)


def test_stated_losses_replace_the_effects_of_a_lever() -> None:
    default = complete(space(*SEARCHED), {})
    effects = accuracy_effects({"pruning_ratio": ((0.75, 0.0), (0.5, 5.0))}, default.values)
    losses = [
        accuracy_log_odds(default.with_values(pruning_ratio=ratio), MINILM, effects)
        - accuracy_log_odds(default, MINILM, effects)
        for ratio in (0.25, 0.5, 0.75)
    ]
    assert losses[2] == 0.0
    assert losses[1] == pytest.approx(2 * losses[0])
    share = 1 / (1 + math.exp(-(math.log(0.85 / 0.15) + losses[1])))
    assert share == pytest.approx(0.80), "5 points at an accuracy of 85%"
    assert effects["padding"] == ACCURACY_EFFECTS["padding"]


def test_the_deviation_of_a_lever_is_that_of_its_largest_effect() -> None:
    assert effect_deviation("pruning_ratio", (0.0, 0.25), ACCURACY_EFFECTS) == 0.2
    assert effect_deviation("pruning_ratio", (0.0, 0.75), ACCURACY_EFFECTS) == 0.6
    between = effect_deviation("pruning_ratio", (0.0, 0.6), ACCURACY_EFFECTS)
    assert 0.35 < between < 0.6
    assert effect_deviation("a_plugin_lever", (1, 2), ACCURACY_EFFECTS) == DEFAULT_DEVIATION


def test_recipes_on_a_gpu_have_larger_batches() -> None:
    recipes = make_recipes(space(*SEARCHED, Dimension("device", Categorical(("cuda:0",)))), MINILM)
    assert recipes and {recipe["batch_size"] for recipe in recipes} == {64}
