"""Strategies that a practitioner would try first, from what a study searches.

A recipe sets levers that gain speed at little cost in accuracy, as far as the search space allows:
a lever that is not searched stays at its default.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from autotune.domain import SearchSpace, Strategy, Value, WorkloadProfile
from autotune.domain.search_space import (
    candidate_values,
    complete,
    contains,
    excluded,
    grid_values,
)
from autotune.levers.priors import typical_learning_rate

COMMON: Mapping[str, Sequence[Value]] = {
    "allocator": ("tuned",),
    "padding": ("bucketed",),
    "precision": ("bf16", "fp16", "tf32"),
    "batch_size": (16,),
}
"""Preferred settings of all recipes, the best first: no loss of accuracy can be measured."""

ON_GPU: Mapping[str, Sequence[Value]] = {"batch_size": (64, 32, 16)}
"""Preferred settings of all recipes on a GPU, which waits for the CPU with smaller batches."""

RECIPES: Sequence[Mapping[str, Sequence[Value]]] = (
    {"pruning_ratio": (0.25,), "pruning_method": ("layers", "structured"), "freeze_layers": (1,)},
    {"freeze_layers": (2, 1)},
    {},
    {"precision": ("bf16-pure", "bf16")},
)
"""Preferred settings of each recipe, beside :data:`COMMON`. Those that train fastest come first. A
recipe at the default's batch size and learning rate took searches longer (docs/search.md)."""

DEPLOYMENTS: Sequence[Mapping[str, Sequence[Value]]] = (
    {"runtime": ("openvino",), "quantization": ("int8-static",)},
    {"runtime": ("onnxruntime",), "quantization": ("int8-dynamic",)},
    {"runtime": ("openvino", "torch"), "quantization": ("bf16", "none")},
)
"""Preferred settings of deployments, beside batches of texts of similar length."""


def make_deployments(space: SearchSpace) -> tuple[Strategy, ...]:
    """Deployments of the model that the default trains, in other runtimes and numbers. Each takes
    seconds, and says what a runtime gives to every other model."""
    default = complete(space, {})
    deployments: dict[str, Strategy] = {}
    for settings in DEPLOYMENTS:
        choices = dict(_available(space, {"inference_padding": ("bucketed",), **settings}))
        strategy = default.with_values(**choices)
        if strategy != default and settings.keys() <= choices.keys():
            deployments[strategy.key] = strategy
    return tuple(s for s in deployments.values() if excluded(space, s) is None)


def make_recipes(
    space: SearchSpace, workload: WorkloadProfile | None, start_with: Sequence[Strategy] = ()
) -> tuple[Strategy, ...]:
    """The recipes for ``space``, without the default and without duplicates. Without a
    ``workload``, the learning rate stays at its default. Rates near one of ``start_with`` are equal
    to it."""
    default, fallbacks = complete(space, {}), _fallbacks(space)
    on_gpu = str(complete(space, fallbacks)["device"]).startswith("cuda")
    common = {**COMMON, **(ON_GPU if on_gpu else {})}
    recipes: dict[str, Strategy] = {}
    for settings in RECIPES:
        choices = {**fallbacks, **dict(_available(space, {**common, **settings}))}
        strategy = complete(space, choices)
        if workload is not None:
            strategy = _with_typical_rate(space, strategy, workload, start_with)
        if strategy != default and excluded(space, strategy) is None:
            recipes[strategy.key] = strategy
    return tuple(recipes.values())


def _fallbacks(space: SearchSpace) -> dict[str, Value]:
    """The first setting of the levers whose default the space does not have."""
    return {
        d.lever: grid_values(d.domain, 2)[0]
        for d in space.dimensions
        if not contains(d.domain, space.defaults[d.lever])
    }


def _available(
    space: SearchSpace, settings: Mapping[str, Sequence[Value]]
) -> Iterator[tuple[str, Value]]:
    """The first setting of each lever that ``space`` has."""
    for dimension in space.dimensions:
        values = [v for v in settings.get(dimension.lever, ()) if contains(dimension.domain, v)]
        if values:
            yield dimension.lever, values[0]


def _with_typical_rate(
    space: SearchSpace,
    strategy: Strategy,
    workload: WorkloadProfile,
    start_with: Sequence[Strategy],
) -> Strategy:
    """``strategy`` with the learning rate nearest to the typical one, but not below the default."""
    rates = [
        float(value)
        for dimension in space.dimensions
        if dimension.lever == "learning_rate"
        for value in candidate_values(space, dimension, start_with)
    ]
    if not rates:
        return strategy
    typical = typical_learning_rate(strategy, workload)
    target = max(typical, float(space.defaults["learning_rate"]))
    nearest = min(rates, key=lambda rate: abs(math.log(rate / target)))
    return strategy.with_values(learning_rate=nearest)
