"""Adapters: trained as Trainer trains peft's, and merged into a plain model."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import AdaLoraConfig, get_peft_model
from tiny_encoders import logits, tiny_model
from torch import nn
from trainer_runs import trainer_losses
from transformers import Trainer, TrainerCallback, TrainerState
from trial_cases import make_collator, make_job, make_plan, make_split, make_state, make_strategy

from autotune.domain import Completed
from autotune.errors import Unsupported
from autotune.trial import training
from autotune.trial.data.datasets import prepare_task
from autotune.trial.effects.adapters import add_adapter, merge_adapters, merged_copy
from autotune.trial.effects.optimizers import build_for_strategy
from autotune.trial.effects.precision import Precision
from autotune.trial.encoder import encoder_of
from autotune.trial.models import load_model
from autotune.trial.plan import TrainingPlan
from autotune.trial.run import run_trial
from autotune.trial.state import TrainState
from autotune.trial.workload import profile_workload
from autotune.tuner.feasibility.shapes import WorkloadShape

RATE, STEPS = 1e-2, 20


def adapted_state(kind: str = "bert", **settings: Any) -> TrainState:
    state, strategy = make_state(kind, rate=RATE), make_strategy(learning_rate=RATE, **settings)
    ranks = add_adapter(strategy, state.model, seed=3)
    optimizer = build_for_strategy(strategy, state.model)
    if ranks is not None:
        ranks.allocate_after_step(optimizer, STEPS)
    loss = replace(state.loss, penalty=None if ranks is None else ranks.penalty)
    return replace(state, optimizer=optimizer, loss=loss, has_adapter=True, ranks=ranks)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("bert", {"adapter": "lora"}),
        ("distilbert", {"adapter": "lora", "adapter_targets": "all", "adapter_rank": 2}),
        ("bert", {"adapter": "dora", "adapter_alpha": 4}),
        ("electra", {"adapter": "ia3"}),
        ("roberta", {"adapter": "adalora", "adapter_rank": 2}),
    ],
    ids=["lora", "lora-all", "dora", "ia3", "adalora"],
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


@pytest.mark.parametrize("settings", [
    {"adapter": "lora"},
    {"adapter": "lora", "adapter_targets": "all", "adapter_rank": 16},
    {"adapter": "dora", "adapter_targets": "all"},
    {"adapter": "adalora", "adapter_rank": 4},
    {"adapter": "ia3"},
], ids=str)  # fmt: skip
def test_trained_weights_are_those_that_memory_is_predicted_for(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    job = make_job(tmp_path, **settings)
    model = load_model(prepare_task(job.task))
    add_adapter(job.strategy, model, seed=0)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    predicted = WorkloadShape(profile_workload(job.task), job.strategy).trained_parameters
    assert predicted == pytest.approx(trained, rel=0.02)


def trial_losses(state: TrainState, plan: TrainingPlan) -> list[float]:
    return [
        float(training.train_step(state, [plan.collate(rows)], RATE * (1 - step / STEPS)))
        for step, rows in zip(range(STEPS), plan.batches(), strict=False)
    ]


@pytest.mark.parametrize("adapter", ["lora", "dora", "ia3"])
def test_losses_of_an_adapter_are_those_of_trainer(adapter: str, tmp_path: Path) -> None:
    plan = make_plan(make_collator(make_split(20)), STEPS)
    model = adapted_state(adapter=adapter).model
    expected = trainer_losses(tmp_path, model, plan, learning_rate=RATE)
    losses = trial_losses(adapted_state(adapter=adapter), plan)
    assert losses == pytest.approx(expected, abs=1e-4)


class AllocatingTrainer(Trainer):
    """Trainer with the callback that peft's documentation gives for AdaLoRA."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        model: Any = self.model
        tuner = model.base_model

        class Allocation(TrainerCallback):
            def on_optimizer_step(
                self, args: Any, state: TrainerState, control: Any, **options: Any
            ) -> None:
                tuner.update_and_allocate(state.global_step + 1)

        self.add_callback(Allocation())


def test_losses_of_adalora_are_those_of_peft_in_trainer(tmp_path: Path) -> None:
    plan = make_plan(make_collator(make_split(20)), STEPS)
    state, base = adapted_state(adapter="adalora", adapter_rank=2), make_state(rate=RATE).model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = AdaLoraConfig(
            target_r=2, init_r=3, lora_alpha=16, target_modules=["query", "value"],
            total_step=STEPS, tinit=2, tfinal=6, task_type="SEQ_CLS",
        )  # fmt: skip
        model = get_peft_model(base, config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad |= "pooler" in name or "classifier" in name
    expected = trainer_losses(tmp_path, model, plan, AllocatingTrainer, learning_rate=RATE)
    assert trial_losses(state, plan) == pytest.approx(expected, abs=1e-4)
    pairs = zip(
        encoder_of(tiny_model()).linears, encoder_of(merged_copy(state.model)).linears, strict=True
    )
    updates = [new.weight - old.weight for old, new in pairs]
    ranks_left = [int(torch.linalg.matrix_rank(update, atol=1e-6)) for update in updates]
    assert 0 < sum(ranks_left) <= 2 * 4  # layers, query and value: two each


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
