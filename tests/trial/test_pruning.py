"""A pruned model is smaller, equals the original one with zeros, and can be trained."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from autotune.errors import DataError, NanLoss, Unsupported, UsageError
from autotune.trial.effects.pruning import (
    METHODS,
    neurons_to_keep,
    prune,
    units_to_keep,
)
from autotune.trial.effects.pruning_plan import PruningPlan
from autotune.trial.encoder import encoder_of
from tests.trial.tiny_encoders import (
    HEAD_SIZE,
    HEADS,
    KINDS,
    LAYERS,
    NEURONS,
    batches,
    encoder_flops,
    logits,
    tiny_model,
)

CASES = [(kind, attention) for kind in KINDS for attention in ("sdpa", "eager")]


def zeroed(model: PreTrainedModel, plan: PruningPlan) -> PreTrainedModel:
    """A copy of ``model`` in which nothing reads the heads and neurons that ``plan`` drops."""
    copy = deepcopy(model)
    for index, layer in enumerate(encoder_of(copy).layers):
        with torch.no_grad():
            for head in set(range(layer.heads)) - set(plan["heads"][index]):
                columns = slice(head * HEAD_SIZE, (head + 1) * HEAD_SIZE)
                layer.attention_output.weight[:, columns] = 0
            for neuron in set(range(layer.neurons)) - set(plan["neurons"][index]):
                layer.ffn_out.weight[:, neuron] = 0
    return copy


def losses(model: PreTrainedModel, steps: int) -> list[float]:
    """Losses of ``steps`` AdamW steps on one batch, dropout off."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    seen = []
    for _ in range(steps):
        loss = model(**batches(1)[0]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(loss.item())
    return seen


@pytest.mark.parametrize("score", ["taylor", "magnitude"])
@pytest.mark.parametrize(("kind", "attention"), CASES)
def test_structured_pruning_equals_the_original_model_with_zeros(
    kind: str, attention: str, score: str
) -> None:
    model = tiny_model(kind, attention=attention)
    whole = deepcopy(model)
    report = prune(model, ratio=0.5, score=score, batches=batches())
    expected = logits(zeroed(whole, report.plan))
    torch.testing.assert_close(logits(model), expected, atol=1e-5, rtol=1e-5)
    assert (logits(whole) - expected).abs().max() > 1e-2  # the zeros are missed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_pruned_model_learns(kind: str, method: str) -> None:
    model = tiny_model(kind)
    prune(model, ratio=0.5, method=method, batches=batches())
    first, *_, last = losses(model, steps=15)
    assert last < 0.7 * first


@pytest.mark.parametrize("kind", KINDS)
def test_structured_pruning_halves_every_layer_and_reports_it(kind: str) -> None:
    model = tiny_model(kind)
    flops, whole = encoder_flops(model), model.num_parameters()
    report = prune(model, ratio=0.5, batches=batches())
    encoder = encoder_of(model)
    assert [(la.heads, la.neurons) for la in encoder.layers] == [(2, 64)] * LAYERS
    attention = encoder.layers[0].attention
    assert getattr(attention, encoder.family.heads) == 2
    assert getattr(attention, encoder.family.width) == 2 * HEAD_SIZE
    assert getattr(model.config, encoder.family.ffn_size) == 64
    assert model.config.num_attention_heads == HEADS
    assert model.num_parameters() < whole
    assert encoder_flops(model) / flops == pytest.approx(0.5)
    assert report.masks is None


@pytest.mark.parametrize("method", METHODS)
def test_ratio_zero_is_the_identity(method: str) -> None:
    model = tiny_model()
    before, flops = deepcopy(model.state_dict()), encoder_flops(model)
    report = prune(model, ratio=0.0, method=method)
    assert encoder_flops(model) == flops
    assert report.masks is None
    torch.testing.assert_close(model.state_dict(), before, atol=0, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_the_highest_ratio_leaves_something_that_runs(method: str) -> None:
    model = tiny_model()
    prune(model, ratio=0.95, method=method, batches=batches())
    encoder = encoder_of(model)
    assert len(encoder.layers) >= 1
    assert all(layer.heads >= 1 and layer.neurons >= 32 for layer in encoder.layers)
    assert torch.isfinite(logits(model)).all()


def test_three_quarters_of_four_heads_leave_one() -> None:
    model = tiny_model()
    report = prune(model, ratio=0.75, batches=batches())
    assert [len(heads) for heads in report.plan["heads"]] == [1, 1]


def test_layers_are_dropped_from_the_top() -> None:
    model = tiny_model(layers=4)
    kept, flops = list(encoder_of(model).module_list)[:2], encoder_flops(model)
    report = prune(model, ratio=0.5, method="layers")
    assert report.plan["layers"] == [0, 1]
    assert list(encoder_of(model).module_list) == kept
    assert model.config.num_hidden_layers == 2
    assert encoder_flops(model) / flops == 0.5


def test_a_model_without_its_top_layers_loads_without_special_code(tmp_path: Path) -> None:
    model = tiny_model("distilbert", layers=4)
    prune(model, ratio=0.25, method="layers")
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(logits(loaded), logits(model))


def test_dtype_and_frozen_parts_are_preserved() -> None:
    model = tiny_model().to(torch.bfloat16)
    encoder_of(model).layers[0].query.weight.requires_grad_(False)
    encoder_of(model).layers[0].ffn_out.weight.requires_grad_(False)
    prune(model, ratio=0.5, batches=batches())
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert all(p.is_contiguous() for p in model.parameters())
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert [name.split(".")[-2] for name in frozen] == ["query", "dense"]
    assert losses(model, steps=2)[1] > 0


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_gradients_do_not_change(training: bool) -> None:
    model = tiny_model().train(training)
    prune(model, ratio=0.5, batches=batches())
    assert all(module.training is training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_pruning_twice_prunes_the_remaining_model() -> None:
    model = tiny_model()
    prune(model, ratio=0.5, batches=batches())
    prune(model, ratio=0.5, batches=batches())
    assert [(la.heads, la.neurons) for la in encoder_of(model).layers] == [(1, 32)] * LAYERS


def test_invalid_input_is_an_error_before_any_change() -> None:
    model = tiny_model()
    before = model.num_parameters()
    with pytest.raises(UsageError, match="pruning_ratio is 1"):
        prune(model, ratio=1.0)
    with pytest.raises(UsageError, match="unknown pruning method 'random'"):
        prune(model, ratio=0.5, method="random")
    with pytest.raises(UsageError, match="unknown pruning score 'luck'"):
        prune(model, ratio=0.5, score="luck")
    with pytest.raises(DataError, match="at least one training batch"):
        prune(model, ratio=0.5, batches=[])
    assert model.num_parameters() == before


def test_a_nan_loss_is_an_error() -> None:
    model = tiny_model()
    model.classifier.weight.data.fill_(float("nan"))
    with pytest.raises(NanLoss):
        prune(model, ratio=0.5, batches=batches())


def test_an_unknown_model_is_unsupported() -> None:
    model = tiny_model()
    model.config.model_type = "gpt2"
    with pytest.raises(Unsupported):
        prune(model, ratio=0.5, batches=batches())


@given(
    total=st.integers(1, 5000),
    ratio=st.floats(0, 1, exclude_max=True),
    multiple=st.sampled_from([1, 8, 64]),
)
def test_units_to_keep_are_near_the_exact_number_and_in_bounds(
    total: int, ratio: float, multiple: int
) -> None:
    kept = units_to_keep(total, ratio, multiple)
    assert min(multiple, total) <= kept <= total
    assert kept == total or kept % multiple == 0
    exact = total * (1 - ratio)
    assert abs(kept - exact) <= multiple / 2 + 1e-6 or kept in (multiple, total)


@given(total=st.integers(1, 5000), ratio=st.floats(0.01, 1, exclude_max=True))
def test_neurons_to_keep_suit_kernels(total: int, ratio: float) -> None:
    kept = neurons_to_keep(total, ratio)
    assert 1 <= kept <= total
    if total >= 256:
        assert kept == total or kept % 64 == 0
    elif total >= NEURONS:
        assert kept == total or kept % 32 == 0


@given(total=st.integers(1, 5000), ratios=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)))
def test_more_pruning_never_keeps_more(total: int, ratios: tuple[float, float]) -> None:
    low, high = sorted(ratios)
    assert neurons_to_keep(total, high) <= neurons_to_keep(total, low)
    assert units_to_keep(total, high) <= units_to_keep(total, low)
