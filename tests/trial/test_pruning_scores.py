"""Scores equal an independent derivation, and are lowest for units without effect."""

from __future__ import annotations

import pytest
import torch

from autotune.trial.effects.pruning import prune
from autotune.trial.effects.pruning_scores import magnitude_scores, taylor_scores
from autotune.trial.encoder import encoder_of
from tests.trial.tiny_encoders import HEAD_SIZE, HEADS, KINDS, NEURONS, batches, tiny_model


@pytest.mark.parametrize("kind", KINDS)
def test_taylor_score_is_weight_times_gradient(kind: str) -> None:
    model = tiny_model(kind)
    (batch,) = batches(1, samples=1)
    scores = taylor_scores(model, [batch])
    model(**batch).loss.backward()
    for layer, score in zip(encoder_of(model).layers, scores, strict=True):
        for linear, found in (
            (layer.attention_output, score.heads),
            (layer.ffn_out, score.neurons),
        ):
            assert linear.weight.grad is not None
            columns = (linear.weight * linear.weight.grad).sum(dim=0)
            expected = columns.view(len(found), -1).sum(dim=1).abs()
            torch.testing.assert_close(found, expected.detach(), atol=1e-6, rtol=1e-4)


def test_taylor_predicts_the_loss_without_a_head() -> None:
    """For a gate that is nearly open the first order is all there is."""
    model, (batch,) = tiny_model().double(), batches(1, samples=1)
    layer = encoder_of(model).layers[0]
    predicted = taylor_scores(model, [batch])[0].heads
    with torch.no_grad():
        before = model(**batch).loss
        for head in range(HEADS):
            columns = slice(head * HEAD_SIZE, (head + 1) * HEAD_SIZE)
            kept = layer.attention_output.weight[:, columns].clone()
            layer.attention_output.weight[:, columns] *= 1 - 1e-5
            change = (model(**batch).loss - before).abs() / 1e-5
            layer.attention_output.weight[:, columns] = kept
            assert float(change) == pytest.approx(float(predicted[head]), rel=1e-2, abs=1e-5)


def test_taylor_adds_samples_and_batches() -> None:
    model = tiny_model()
    first, second = batches(2, samples=1)
    both = {name: torch.cat([first[name], second[name]]) for name in first}
    apart = taylor_scores(model, [first, second])
    together = taylor_scores(model, [both])
    # the loss of a batch is a mean, so two samples weigh half as much together
    torch.testing.assert_close(together[0].heads * 2, apart[0].heads, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(together[1].neurons * 2, apart[1].neurons, atol=1e-6, rtol=1e-4)


def test_taylor_does_not_need_trainable_parameters() -> None:
    model = tiny_model()
    expected = taylor_scores(model, batches())
    model.requires_grad_(False)
    found = taylor_scores(model, batches())
    torch.testing.assert_close(found[0].heads, expected[0].heads)
    torch.testing.assert_close(found[1].neurons, expected[1].neurons)


def test_scoring_removes_its_hooks() -> None:
    model = tiny_model()
    taylor_scores(model, batches())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("score", ["taylor", "magnitude"])
@pytest.mark.parametrize("kind", KINDS)
def test_units_without_effect_have_the_lowest_score(kind: str, score: str) -> None:
    model = tiny_model(kind)
    layer = encoder_of(model).layers[1]
    idle = set(range(40, 72))
    with torch.no_grad():
        layer.attention_output.weight[:, 2 * HEAD_SIZE : 3 * HEAD_SIZE] = 0
        layer.ffn_out.weight[:, sorted(idle)] = 0
    report = prune(model, ratio=0.25, score=score, batches=batches())
    assert report.plan["heads"][1] == [0, 1, 3]
    assert report.plan["neurons"][1] == sorted(set(range(NEURONS)) - idle)


def test_magnitude_uses_both_sides_of_a_unit() -> None:
    model = tiny_model()
    layer = encoder_of(model).layers[0]
    with torch.no_grad():
        layer.ffn_in.weight[7] = 0
        layer.value.weight[HEAD_SIZE : 2 * HEAD_SIZE] = 0
    scores = magnitude_scores(model)[0]
    assert scores.neurons.argmin() == 7
    assert scores.heads.argmin() == 1
