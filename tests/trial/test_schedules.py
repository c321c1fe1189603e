"""Schedules, weight decay, layer decay and clipping: the losses are those of Trainer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_encoders import tiny_model
from trainer_runs import trainer_losses
from transformers import AutoConfig, AutoModelForSequenceClassification, Trainer
from trial_cases import make_collator, make_plan, make_split, make_state, make_strategy

from autotune.domain import Value
from autotune.domain.schedule import Schedule, schedule_of
from autotune.trial import training
from autotune.trial.effects.optimizers import build_for_strategy
from autotune.trial.effects.parameter_groups import layer_depths, parameter_groups
from autotune.trial.effects.schedules import make_scheduler, rate_factors
from autotune.trial.plan import TrainingPlan

STEPS, RATE = 20, 2e-3


def trial_losses(plan: TrainingPlan, **settings: Any) -> list[float]:
    strategy = make_strategy(learning_rate=RATE, **settings)
    state = make_state(rate=RATE)
    state = replace(
        state,
        optimizer=build_for_strategy(strategy, state.model),
        max_gradient_norm=float(strategy["gradient_clip"]),
        loss=replace(state.loss, label_smoothing=float(strategy["label_smoothing"])),
    )
    factor = rate_factors(schedule_of(strategy, plan.steps), plan.steps)
    steps = zip(range(plan.steps), plan.batches(), strict=False)
    return [
        float(training.train_step(state, [plan.collate(batch)], RATE * factor(step)))
        for step, batch in steps
    ]


class LayerDecayTrainer(Trainer):
    """Trainer with a rate of its own for each layer, the usual way to do it."""

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        depths = layer_depths(self.model)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [weight], "lr": RATE * 0.5 ** (3 - depths[name]), "weight_decay": 0.0}
                for name, weight in self.model.named_parameters()
            ],
            lr=RATE,
        )
        return self.optimizer


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"lr_scheduler": "cosine"}, {"lr_scheduler_type": "cosine"}),
        ({"lr_scheduler": "constant"}, {"lr_scheduler_type": "constant"}),
        (
            {"lr_scheduler": "constant", "warmup_ratio": 0.2},
            {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 0.2},
        ),
        (
            {"lr_scheduler": "constant-cooldown", "warmup_ratio": 0.1},
            {
                "lr_scheduler_type": "warmup_stable_decay",
                "warmup_steps": 2,
                "lr_scheduler_kwargs": {"num_decay_steps": 4, "decay_type": "linear"},
            },
        ),
        (
            {"lr_scheduler": "polynomial"},
            {
                "lr_scheduler_type": "polynomial",
                "lr_scheduler_kwargs": {"power": 2.0, "lr_end": 0.0},
            },
        ),
        ({"warmup_ratio": 0.25}, {"warmup_steps": 5}),
        ({"weight_decay": 0.5}, {"weight_decay": 0.5}),
        ({"weight_decay": 0.5, "optimizer": "sgd"}, {"weight_decay": 0.5, "optim": "sgd"}),
        ({"gradient_clip": 0.0}, {"max_grad_norm": 0.0}),
        # AdamW does not depend on the scale of gradients.
        ({"gradient_clip": 0.1, "optimizer": "sgd"}, {"max_grad_norm": 0.1, "optim": "sgd"}),
        ({"label_smoothing": 0.2}, {"label_smoothing_factor": 0.2}),
        ({"layer_decay": 0.5}, {}),
    ],
    ids=lambda value: "-".join(map(str, value)),
)
def test_losses_of_schedules_and_regularization_are_those_of_trainer(
    settings: dict[str, Value], arguments: dict[str, Any], tmp_path: Path
) -> None:
    plan = make_plan(make_collator(make_split(20)), STEPS)
    if arguments.get("optim") == "sgd":
        trainer_class: type[Trainer] = MomentumTrainer
    else:
        trainer_class = LayerDecayTrainer if "layer_decay" in settings else Trainer
    model = make_state().model
    expected = trainer_losses(tmp_path, model, plan, trainer_class, learning_rate=RATE, **arguments)
    assert trial_losses(plan, **settings) == pytest.approx(expected, abs=1e-4)
    others = {name: value for name, value in settings.items() if name == "optimizer"}
    assert trial_losses(plan, **others) != pytest.approx(expected, abs=1e-4)


class MomentumTrainer(Trainer):
    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        for group in optimizer.param_groups:
            group["momentum"] = 0.9
        return optimizer


@pytest.mark.parametrize("name", ["linear", "cosine", "constant", "constant-cooldown"])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.9])
def test_a_schedule_can_be_entered_at_any_step(name: str, warmup: float) -> None:
    strategy = make_strategy(lr_scheduler=name, warmup_ratio=warmup)
    factor = rate_factors(schedule_of(strategy, 10), 10)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make_scheduler(strategy, optimizer, 10)
    for step in range(10):
        assert scheduler.get_last_lr() == [factor(step)]
        assert 0.0 <= factor(step) <= 1.0
        optimizer.step()
        scheduler.step()


def test_a_schedule_of_one_step_trains() -> None:
    for name in ("linear", "cosine", "constant", "constant-cooldown", "polynomial"):
        assert rate_factors(schedule_of(make_strategy(lr_scheduler=name), 1), 1)(0) == 1.0
    assert schedule_of(make_strategy(), 10) == Schedule()


def test_weight_decay_spares_biases_and_norms() -> None:
    model = tiny_model()
    names = {id(weight): name for name, weight in model.named_parameters()}
    decayed, others = parameter_groups(make_strategy(weight_decay=0.1), model)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert not any("bias" in names[id(w)] or "Norm" in names[id(w)] for w in decayed["params"])
    assert len(decayed["params"]) + len(others["params"]) == len(names)
    assert len(parameter_groups(make_strategy(), model)) == 1


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra", "roberta"])
def test_layer_decay_lowers_the_rates_of_lower_layers(kind: str) -> None:
    model = tiny_model(kind)
    groups = parameter_groups(make_strategy(layer_decay=0.5, learning_rate=1e-3), model)
    names = {id(weight): name for name, weight in model.named_parameters()}
    rates = {names[id(w)]: group["lr"] for group in groups for w in group["params"]}
    assert {rate for name, rate in rates.items() if "embeddings" in name} == {1.25e-4}
    assert {rate for name, rate in rates.items() if "layer.1." in name} == {5e-4}
    assert {rate for name, rate in rates.items() if "classifier" in name} == {1e-3}


@pytest.mark.parametrize(
    ("kind", "depths"),
    [
        (
            "mpnet",
            {
                "mpnet.embeddings.word_embeddings.weight": 0,
                "mpnet.encoder.relative_attention_bias.weight": 0,
                "mpnet.encoder.layer.1.output.dense.weight": 2,
                "classifier.dense.weight": 3,
            },
        ),
        (
            "deberta-v2",
            {"deberta.encoder.LayerNorm.weight": 0, "deberta.encoder.rel_embeddings.weight": 0},
        ),
        ("bert", {"bert.pooler.dense.weight": 3, "classifier.weight": 3}),
        ("modernbert", {"model.final_norm.weight": 3, "model.embeddings.norm.weight": 0}),
    ],
)
def test_parts_that_all_layers_read_have_the_depth_of_embeddings(
    kind: str, depths: dict[str, int]
) -> None:
    config = AutoConfig.for_model(
        kind, vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, pad_token_id=0, relative_attention=True, norm_rel_ebd="layer_norm",
    )  # fmt: skip
    found = layer_depths(AutoModelForSequenceClassification.from_config(config))
    assert {name: found[name] for name in depths} == depths
