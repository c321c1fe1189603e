"""Lever ``pruning_schedule``: what is trained before heads and neurons are removed, and how many
are removed at a time."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_encoders import HEADS, LAYERS, NEURONS, batches, logits, tiny_model
from torch import Tensor
from transformers import PreTrainedModel
from trial_cases import CPU, make_job, make_strategy

from autotune.domain.training import PRUNING_TRAINING_STEPS
from autotune.trial.distributed.process_group import SingleProcess
from autotune.trial.effects.parameter_groups import head_parameters
from autotune.trial.effects.pruning import prune
from autotune.trial.effects.pruning_plan import apply_plan
from autotune.trial.effects.pruning_schedule import (
    GRADUAL_REMOVALS,
    removal_ratios,
    train_head,
    training_before_removals,
)
from autotune.trial.effects.pruning_scores import taylor_scores
from autotune.trial.encoder import encoder_of
from autotune.trial.setup import build_model
from autotune.trial.trial_data import read_data


def endless_batches() -> Iterator[dict[str, Tensor]]:
    while True:
        yield from batches(3)


def loss(model: PreTrainedModel) -> float:
    with torch.no_grad():
        return sum(float(model(**batch).loss) for batch in batches())


def unit_counts(model: PreTrainedModel) -> tuple[int, int]:
    layers = encoder_of(model).layers
    return sum(layer.heads for layer in layers), sum(layer.neurons for layer in layers)


@pytest.mark.parametrize("schedule", ["one-shot", "after-warmup", "gradual"])
def test_heads_are_chosen_by_the_loss_of_the_task(tmp_path: Path, schedule: str) -> None:
    """Without weights of classes, by what the model itself computes."""
    job = make_job(
        tmp_path, pruning_ratio=0.5, pruning_schedule=schedule, dropout=0.0, learning_rate=1e-3
    )
    data = read_data(job, CPU, lambda note: None, SingleProcess())

    def weights(*class_weights: float) -> Tensor:
        prepared = replace(data.prepared, class_weights=class_weights or None)
        model = build_model(job.strategy, prepared, data.collate, 0).model
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    names = data.prepared.label_names
    plain, even, uneven = (
        weights(),
        weights(*[1.0] * len(names)),
        weights(20.0, *[0.05] * (len(names) - 1)),
    )
    torch.testing.assert_close(even, plain, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(uneven, plain, atol=1e-3)


def test_gradual_ratios_rise_less_and_less() -> None:
    ratios = removal_ratios("gradual", 0.6)
    removed = [after - before for before, after in zip([0.0, *ratios], ratios, strict=False)]
    assert len(ratios) == GRADUAL_REMOVALS and ratios[-1] == 0.6
    assert removed == sorted(removed, reverse=True) and removed[-1] > 0
    assert removal_ratios("one-shot", 0.6) == removal_ratios("after-warmup", 0.6) == [0.6]


def test_the_classifier_is_trained_on_features_that_stay() -> None:
    model = tiny_model()
    before, random_state = deepcopy(model.state_dict()), torch.get_rng_state()
    before_training = loss(model)
    train_head(model, iter(batches() * 10))
    trained = [id(parameter) for parameter in head_parameters(model)]
    for name, parameter in model.named_parameters():
        assert parameter.equal(before[name]) is (id(parameter) not in trained), name
        assert parameter.requires_grad and parameter.grad is None
    assert loss(model) < before_training
    assert not model.training
    assert torch.get_rng_state().equal(random_state)


def test_scores_are_those_of_a_trained_classifier() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.get_parameter("classifier.weight").zero_()
    assert not any(layer.heads.any() for layer in taylor_scores(model, batches()))
    strategy = make_strategy(pruning_schedule="after-warmup")
    training_before_removals(strategy, model, iter(batches() * 10))()
    assert all((layer.heads > 0).all() for layer in taylor_scores(model, batches()))


def test_gradual_pruning_trains_between_removals() -> None:
    model = tiny_model()
    strategy = make_strategy(pruning_schedule="gradual", learning_rate=1e-2)
    train = training_before_removals(strategy, model, endless_batches())
    seen: list[tuple[int, int]] = []

    def observe() -> None:
        seen.append(unit_counts(model))
        before = encoder_of(model).layers[0].query.weight.detach().clone()
        train()
        assert not encoder_of(model).layers[0].query.weight.equal(before)

    prune(model, ratio=0.75, batches=batches(), schedule="gradual", train=observe)
    assert seen[0] == (LAYERS * HEADS, LAYERS * NEURONS)
    assert len(seen) == GRADUAL_REMOVALS and seen == sorted(seen, reverse=True)
    one_shot = tiny_model()
    prune(one_shot, ratio=0.75, batches=batches())
    assert unit_counts(model) == unit_counts(one_shot) < seen[1] < seen[0]
    assert model.num_parameters() == one_shot.num_parameters()


@pytest.mark.parametrize("score", ["taylor", "magnitude"])
def test_the_plan_of_several_removals_removes_the_same_at_once(score: str) -> None:
    model = tiny_model()
    whole = deepcopy(model)
    plan = prune(model, ratio=0.75, score=score, batches=batches(), schedule="gradual").plan
    apply_plan(whole, plan)
    torch.testing.assert_close(logits(whole), logits(model))


@pytest.mark.parametrize("schedule", ["after-warmup", "gradual"])
def test_set_up_is_the_same_in_every_process(schedule: str, tmp_path: Path) -> None:
    """A run that continues, and each rank, builds the model again."""
    job = make_job(
        tmp_path, pruning_ratio=0.5, pruning_schedule=schedule, dropout=0.1, learning_rate=1e-3
    )
    data = read_data(job, CPU, lambda note: None, SingleProcess())

    def weights(**values: str) -> dict[str, Tensor]:
        strategy = job.strategy.with_values(**values)
        return build_model(strategy, data.prepared, data.collate, job.seed).model.state_dict()

    first, _, second, one_shot = (
        weights(), torch.rand(7), weights(), weights(pruning_schedule="one-shot"),
    )  # fmt: skip
    torch.testing.assert_close(first, second, atol=0, rtol=0)
    assert [t.shape for t in first.values()] == [t.shape for t in one_shot.values()]
    assert not first["classifier.weight"].equal(one_shot["classifier.weight"])
    embeddings = next(name for name in first if "word_embeddings" in name)
    assert first[embeddings].equal(one_shot[embeddings]) is (schedule == "after-warmup")


def test_each_removal_has_its_share_of_the_training() -> None:
    assert PRUNING_TRAINING_STEPS % GRADUAL_REMOVALS == 0
