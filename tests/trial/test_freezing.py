"""Frozen parts have no backward pass; the parts above them are trained."""

from __future__ import annotations

import pytest
from torch import Tensor, nn
from transformers import PreTrainedModel

from autotune.errors import UsageError
from autotune.trial.effects.freezing import freeze
from autotune.trial.effects.pruning import prune
from autotune.trial.encoder import encoder_of
from tests.trial.tiny_encoders import KINDS, batches, tiny_model

LAYERS = 3


def inputs_with_gradient(model: PreTrainedModel) -> list[bool]:
    """Whether the backward pass goes on below each layer, from the lowest layer up."""
    requires_gradient: list[bool] = []

    def look(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        requires_gradient.append(arguments[0].requires_grad)

    for layer in encoder_of(model).module_list:
        layer.register_forward_pre_hook(look)
    model.train()
    model(**batches(1)[0]).loss.backward()
    return requires_gradient


@pytest.mark.parametrize("frozen", range(LAYERS + 2))
@pytest.mark.parametrize("kind", KINDS)
def test_backward_ends_above_the_frozen_parts(kind: str, frozen: int) -> None:
    model = tiny_model(kind, layers=LAYERS)
    freeze(model, frozen)
    assert inputs_with_gradient(model) == [index >= frozen for index in range(LAYERS)]
    parts = [nn.ModuleList(encoder_of(model).embeddings), *encoder_of(model).module_list]
    for index, part in enumerate(parts):
        has_gradient = any(parameter.grad is not None for parameter in part.parameters())
        assert has_gradient is (index >= frozen)
    assert all(p.grad is not None for n, p in model.named_parameters() if "classifier" in n)


def test_too_many_layers_freeze_the_encoder_but_not_the_classifier() -> None:
    model = tiny_model(layers=LAYERS)
    count = freeze(model, 1000)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained == [n for n, _ in model.named_parameters() if "pooler" in n or "classifier" in n]
    assert count == sum(p.numel() for p in model.parameters() if not p.requires_grad) > 0


def test_zero_freezes_nothing() -> None:
    model = tiny_model()
    assert freeze(model, 0) == 0
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_layers_are_counted_after_pruning() -> None:
    model = tiny_model(layers=4)
    prune(model, ratio=0.5, method="layers")
    freeze(model, 2)
    assert inputs_with_gradient(model) == [False, False]
    assert all(p.requires_grad for p in encoder_of(model).module_list[1].parameters())


def test_a_negative_number_is_an_error() -> None:
    with pytest.raises(UsageError, match="freeze_layers is -1"):
        freeze(tiny_model(), -1)
