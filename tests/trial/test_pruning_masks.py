"""Masks prune exactly the smallest weights, which stay zero during training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from autotune.trial.effects.pruning import prune
from autotune.trial.effects.pruning_masks import magnitude_masks
from autotune.trial.encoder import encoder_of
from tests.trial.tiny_encoders import KINDS, batches, encoder_flops, tiny_model


def weights(model: PreTrainedModel) -> Tensor:
    """All weights that unstructured pruning may drop, in one row."""
    linears = encoder_of(model).linears
    return torch.cat([linear.weight.detach().flatten() for linear in linears])


def train(model: PreTrainedModel, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    model.train()
    for batch in batches(steps):
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ratio", [0.25, 0.75])
def test_exactly_the_smallest_weights_are_pruned(ratio: float, dtype: torch.dtype) -> None:
    model = tiny_model().to(dtype)
    before, flops = weights(model).abs(), encoder_flops(model)
    report = prune(model, ratio=ratio, method="unstructured")
    after = weights(model)
    assert int((after == 0).sum()) == round(len(after) * ratio)
    assert before[after == 0].max() <= before[after != 0].min()
    assert report.masks is not None
    assert encoder_flops(model) == flops  # zeros are multiplied too


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_survives_adamw(kind: str, dtype: torch.dtype) -> None:
    model = tiny_model(kind).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    train(model, optimizer)  # so that there is momentum when the mask comes
    report = prune(model, ratio=0.5, method="unstructured")
    assert report.masks is not None
    dropped = weights(model) == 0
    kept = weights(model)[~dropped]
    report.masks.reapply_after_step(optimizer)
    train(model, optimizer)
    assert torch.equal(weights(model) == 0, dropped)
    assert (weights(model)[~dropped] != kept).float().mean() > 0.9


def test_without_the_mask_pruned_weights_change() -> None:
    model = tiny_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    prune(model, ratio=0.5, method="unstructured")
    train(model, optimizer)
    assert (weights(model) == 0).float().mean() < 0.1


def test_the_mask_follows_a_later_cast() -> None:
    model = tiny_model()
    report = prune(model, ratio=0.5, method="unstructured")
    assert report.masks is not None
    dropped = weights(model) == 0
    model.to(torch.bfloat16)
    with torch.no_grad():
        for linear in encoder_of(model).linears:
            linear.weight.fill_(float("inf"))
    report.masks.apply()
    assert torch.equal(weights(model) == 0, dropped)


def test_equal_weights_are_pruned_to_the_exact_fraction() -> None:
    for ratio, zeros in ((0.0, 0), (0.37, 37)):
        linear = torch.nn.Linear(10, 10)
        torch.nn.init.ones_(linear.weight)
        magnitude_masks([linear], ratio).apply()
        assert int((linear.weight == 0).sum()) == zeros
