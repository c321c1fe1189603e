"""A plan is JSON, reduces a new model to the same shape, and does not fit another model."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from autotune.errors import ModelError
from autotune.trial.effects.pruning import prune
from autotune.trial.effects.pruning_plan import PruningPlan, apply_plan, identity_plan, pad_heads
from autotune.trial.encoder import encoder_of
from tests.trial.tiny_encoders import HEADS, KINDS, batches, logits, tiny_model


@pytest.mark.parametrize("method", ["structured", "layers"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_plan_are_a_complete_checkpoint(kind: str, method: str, tmp_path: Path) -> None:
    model = tiny_model(kind, layers=3)
    report = prune(model, ratio=0.5, method=method, batches=batches())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)  # stands for the fine-tuning
    save_file(model.state_dict(), tmp_path / "model.safetensors")

    fresh = tiny_model(kind, layers=3, seed=1)
    apply_plan(fresh, json.loads(json.dumps(report.plan)))
    fresh.load_state_dict(load_file(tmp_path / "model.safetensors"))
    torch.testing.assert_close(logits(fresh), logits(model), atol=0, rtol=0)
    assert fresh.config.to_dict() == model.config.to_dict()


def test_the_same_removal_on_the_same_model_gives_the_same_model() -> None:
    model = tiny_model()
    pruned_copy = deepcopy(model)
    report = prune(model, ratio=0.5, batches=batches())
    apply_plan(pruned_copy, report.plan)
    torch.testing.assert_close(pruned_copy.state_dict(), model.state_dict(), atol=0, rtol=0)


def broken(change: str) -> PruningPlan:
    plan = identity_plan(tiny_model())
    if change == "unknown head":
        plan["heads"][1] = [0, HEADS]
    elif change == "negative neuron":
        plan["neurons"][0] = [-1, 3]
    elif change == "no head":
        plan["heads"][0] = []
    elif change == "twice":
        plan["neurons"][1] = [3, 3]
    elif change == "unsorted":
        plan["heads"][0] = [1, 0]
    elif change == "unknown layer":
        plan["layers"] = [0, 2]
    else:
        plan["heads"] = plan["heads"][:1]
    return plan


@pytest.mark.parametrize(
    "change",
    ["unknown head", "negative neuron", "no head", "twice", "unsorted", "unknown layer", "short"],
)
def test_a_plan_for_another_model_changes_nothing(change: str) -> None:
    model = tiny_model()
    before = deepcopy(model.state_dict())
    with pytest.raises(ModelError, match="pruning plan"):
        apply_plan(model, broken(change))
    torch.testing.assert_close(model.state_dict(), before, atol=0, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_padded_heads_compute_the_same_and_load_without_special_code(
    kind: str, tmp_path: Path
) -> None:
    model = tiny_model(kind)
    prune(model, ratio=0.5, batches=batches())
    pruned = logits(model)
    pad_heads(model)
    assert all(layer.heads == HEADS for layer in encoder_of(model).layers)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert all(layer.neurons == 64 for layer in encoder_of(loaded).layers)
    torch.testing.assert_close(logits(loaded), pruned, atol=1e-5, rtol=1e-5)
