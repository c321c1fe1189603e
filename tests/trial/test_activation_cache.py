"""Cached outputs of frozen layers: the same training, without running these layers."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trial_cases import CPU, make_collator, make_plan, make_split, make_state, make_strategy

from autotune.domain import Range
from autotune.levers import ACCURACY, LEVERS, Lever, Stage, register_lever
from autotune.trial import activation_cache, training
from autotune.trial.activation_cache import cached_activations, upper_model
from autotune.trial.data.activations import Activations
from autotune.trial.effects.freezing import freeze
from autotune.trial.effects.optimizers import build_for_strategy
from autotune.trial.effects.precision import Precision
from autotune.trial.state import TrainState

PREPARED: Any = SimpleNamespace(folder="/data", data_digest="1", max_length=16)
RATE = 5e-3


def frozen_state(kind: str, layers: int) -> TrainState:
    state, strategy = make_state(kind, rate=RATE), make_strategy(learning_rate=RATE)
    freeze(state.model, layers)
    return replace(state, optimizer=build_for_strategy(strategy, state.model))


def losses(state: TrainState, collate: Any) -> list[float]:
    plan = make_plan(collate, 6)
    steps = zip(range(6), plan.batches(), strict=False)
    return [float(training.train_step(state, [collate(rows)], RATE)) for _, rows in steps]


@pytest.mark.parametrize(
    ("kind", "layers"), [("bert", 1), ("bert", 2), ("bert", 9), ("distilbert", 2), ("electra", 1)]
)
def test_training_on_cached_outputs_is_the_same(kind: str, layers: int) -> None:
    collate = make_collator(make_split(20))
    expected = losses(frozen_state(kind, layers), collate)
    state, strategy = frozen_state(kind, layers), make_strategy(freeze_layers=layers)
    precision = Precision("fp32", CPU)
    activations = cached_activations(strategy, state.model, precision, PREPARED, collate, seed=0)
    state = replace(state, forward=upper_model(strategy, state.model, precision))
    cached = losses(state, replace(collate, activations=activations))
    assert cached == pytest.approx(expected, abs=1e-5)
    assert expected[-1] != pytest.approx(expected[0], abs=1e-3)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of frozen parts each time that outputs are computed, and not read."""
    frozen_parts: list[int] = []
    compute = activation_cache._compute

    def count(model: Any, freeze_layers: int, *arguments: Any) -> Any:
        frozen_parts.append(freeze_layers)
        return compute(model, freeze_layers, *arguments)

    monkeypatch.setattr(activation_cache, "_compute", count)
    return frozen_parts


def cache_outputs(**values: Any) -> Activations:
    state, collate = frozen_state("bert", 2), make_collator(make_split(20))
    strategy, precision = make_strategy(**values), Precision("fp32", CPU)
    return cached_activations(strategy, state.model, precision, PREPARED, collate, seed=0)


def test_outputs_are_shared_by_trials_that_freeze_as_much(computed: list[int]) -> None:
    first = cache_outputs(freeze_layers=2)
    second = cache_outputs(freeze_layers=2, learning_rate=1e-3, batch_size=16)
    third = cache_outputs(freeze_layers=1)
    assert computed == [2, 1]
    assert first.saved.seconds == third.saved.seconds == 0.0
    assert second.saved.seconds > 0.0, "the time of the trial that computed them"
    assert torch.equal(first.hidden, second.hidden)


def test_outputs_depend_on_levers_of_plug_ins_that_change_the_model(computed: list[int]) -> None:
    lever = Lever(
        "embedding_scale", "A lever of a test", Range(0.0, 2.0), 1.0, frozenset({ACCURACY}),
        effect="module:function", stage=Stage.LOAD,
    )  # fmt: skip
    cache_outputs(freeze_layers=2)
    register_lever(lever)
    try:
        for scale in (1.0, 0.5, 2.0, 0.5):
            cache_outputs(freeze_layers=2, embedding_scale=scale)
    finally:
        LEVERS.unregister("embedding_scale")
    assert computed == [2, 2, 2], "the default changes nothing"
