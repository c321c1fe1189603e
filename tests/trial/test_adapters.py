"""Adapters: trained as Trainer trains peft's, and merged into a plain model."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import logits, tiny_model
from torch import nn
from trainer_runs import trainer_losses
from trial_cases import make_collator, make_job, make_plan, make_split, make_state, make_strategy

from autotune.domain import Completed
from autotune.errors import Unsupported
from autotune.trial import training
from autotune.trial.effects.adapters import add_adapter, merge_adapters, merged_copy
from autotune.trial.effects.optimizers import build_for_strategy
from autotune.trial.effects.precision import Precision
from autotune.trial.encoder import encoder_of
from autotune.trial.run import run_trial
from autotune.trial.state import TrainState

RATE, STEPS = 1e-2, 20


def adapted_state(kind: str = "bert", **settings: Any) -> TrainState:
    state, strategy = make_state(kind, rate=RATE), make_strategy(learning_rate=RATE, **settings)
    add_adapter(strategy, state.model, seed=3)
    optimizer = build_for_strategy(strategy, state.model)
    return replace(state, optimizer=optimizer, has_adapter=True)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("bert", {"adapter": "lora"}),
        ("distilbert", {"adapter": "lora", "adapter_targets": "all", "adapter_rank": 2}),
        ("bert", {"adapter": "dora", "adapter_alpha": 4}),
        ("electra", {"adapter": "ia3"}),
    ],
    ids=["lora", "lora-all", "dora", "ia3"],
)
def test_a_merged_adapter_is_a_plain_model_with_the_same_logits(
    kind: str, settings: dict[str, Any]
) -> None:
    state = adapted_state(kind, **settings)
    model = state.model
    before = logits(model)
    assert torch.allclose(before, logits(tiny_model(kind)), atol=1e-5)
    batch = make_collator(make_split())(np.arange(4))
    for _ in range(3):
        training.train_step(state, [batch], RATE)
    after = logits(model)
    assert not torch.allclose(after, before, atol=1e-3)
    merged = state.unsharded().model
    assert torch.allclose(logits(merged), after, atol=1e-4)
    assert torch.equal(logits(model), after)
    plain = tiny_model(kind)
    plain.load_state_dict(merged.state_dict())
    assert torch.equal(logits(plain), logits(merged))
    assert len(encoder_of(merged).layers) == 2
    merge_adapters(model)
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_only_the_adapter_and_the_head_are_trained() -> None:
    model = tiny_model()
    add_adapter(make_strategy(adapter="lora", adapter_rank=4), model, seed=0)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    heads = {name for name in trained if "lora" not in name}
    assert heads == {
        "bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight",
        "classifier.bias",
    }  # fmt: skip
    assert len(trained - heads) == 2 * 2 * 2  # layers, query and value, down and up


def test_losses_of_an_adapter_are_those_of_trainer(tmp_path: Path) -> None:
    plan = make_plan(make_collator(make_split(20)), STEPS)
    expected = trainer_losses(
        tmp_path, adapted_state(adapter="lora").model, plan, learning_rate=RATE
    )
    state = adapted_state(adapter="lora")
    steps = zip(range(STEPS), plan.batches(), strict=False)
    losses = [
        float(training.train_step(state, [plan.collate(rows)], RATE * (1 - step / STEPS)))
        for step, rows in steps
    ]
    assert losses == pytest.approx(expected, abs=1e-4)


def test_an_adapter_over_weights_in_half_precision_is_merged_in_fp32() -> None:
    model = adapted_state(adapter="lora").model
    Precision("bf16", torch.device("cpu")).prepare(model)
    query = model.get_submodule("bert.encoder.layer.0.attention.self.query")
    assert query.get_base_layer().weight.dtype is torch.bfloat16
    merged = merged_copy(model).get_submodule("bert.encoder.layer.0.attention.self.query")
    assert type(merged) is nn.Linear and merged.weight.dtype is torch.float32


def test_without_peft_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(Unsupported, match="peft") as caught:
        add_adapter(make_strategy(adapter="lora"), tiny_model(), seed=0)
    assert "autotune[peft]" in str(caught.value.hint)


def test_a_trial_with_an_adapter_measures_the_merged_model(tmp_path: Path) -> None:
    (plain_folder := tmp_path / "plain").mkdir()
    job = make_job(tmp_path, adapter="lora", pruning_ratio=0.5, learning_rate=1e-3)
    outcome = run_trial(job, lambda point: None)
    assert isinstance(outcome, Completed)
    plain = run_trial(make_job(plain_folder, pruning_ratio=0.5), lambda point: None)
    sizes = [o.result.measurements["model_size_mib"].value for o in (outcome, plain)]
    assert sizes[0] == pytest.approx(sizes[1])
    assert 0 <= outcome.result.measurements["accuracy"].value <= 1
