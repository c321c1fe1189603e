"""The training loop: its arithmetic, its optimizers, its windows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_cases import CPU, collator, plan, ready, split, strategy
from tiny_encoders import tiny_model
from torch import nn
from transformers import Trainer, TrainingArguments

from autotune.errors import Unsupported
from autotune.measure.energy import EnergyMeter
from autotune.trial import training
from autotune.trial.effects import optimizers
from autotune.trial.effects.precision import Precision

NO_METER = EnergyMeter([])


def test_losses_and_weights_are_those_of_trainer(tmp_path: Path) -> None:
    """Same data order, no dropout: the defaults must do what Trainer does, step by step."""
    data, steps = split(22), 6
    own = ready(rate=5e-4)
    collate = collator(data)
    schedule = plan(collate, steps)
    rows = [batch for _, batch in zip(range(steps), schedule.batches(), strict=False)]

    class Ordered(Trainer):
        def _get_train_sampler(self, train_dataset: object = None) -> list[int]:  # type: ignore[override]
            return [int(row) for batch in rows for row in batch]

    theirs = ready().model
    arguments = TrainingArguments(
        str(tmp_path), per_device_train_batch_size=4, max_steps=steps, learning_rate=5e-4,
        use_cpu=True, report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True,
    )  # fmt: skip
    trainer = Ordered(theirs, arguments, train_dataset=_examples(data), data_collator=_pad)
    trainer.train()
    expected = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    losses = [
        float(training.step(own, [collate(batch)], 5e-4 * (1 - done / steps)))
        for done, batch in enumerate(rows)
    ]
    assert losses == pytest.approx(expected, abs=1e-4)
    for (name, mine), other in zip(own.model.named_parameters(), theirs.parameters(), strict=True):
        # Softmax makes the gradient of a key's bias zero; AdamW steps along its rounding errors.
        assert name.endswith("key.bias") or torch.allclose(mine, other, atol=2e-5), name


def _examples(data: object) -> list[dict[str, torch.Tensor]]:
    collate = collator(data)  # type: ignore[arg-type]
    batches = [collate(np.array([row])) for row in range(len(collate.split))]
    return [{"input_ids": b.inputs["input_ids"][0], "labels": b.labels[0]} for b in batches]


def _pad(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    ids = nn.utils.rnn.pad_sequence([row["input_ids"] for row in rows], batch_first=True)
    labels = torch.stack([row["labels"] for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}


def test_accumulated_gradients_are_those_of_the_whole_batch() -> None:
    gradients = []
    for size in (8, 3):
        model = ready()
        collate = collator(split())
        kept: list[torch.Tensor] = []
        model.optimizer.register_step_pre_hook(
            lambda opt, *_, kept=kept, model=model: kept.extend(
                p.grad.clone() for p in model.model.parameters()
            )
        )
        schedule = plan(collate, 1, batch=8, micro=size)
        parts = [collate(rows) for rows in schedule.parts(np.arange(8))]
        training.step(model, parts, 1e-3)
        gradients.append(kept)
    for whole, accumulated in zip(*gradients, strict=True):
        assert torch.allclose(whole, accumulated, atol=1e-6)


def test_fused_clipping_is_clip_grad_norm() -> None:
    batch = collator(split())(np.arange(4))
    weights = []
    for name in ("adamw-fused", "adamw"):
        model = ready(optimizer=name)
        model.model.get_input_embeddings().weight.data.mul_(3)
        for _ in range(3):
            (training.summed_loss(model.model(**batch.inputs).logits, batch.labels) * 50).backward()
            optimizers.update(model.optimizer, model.precision, 1e-3)
        weights.append(dict(model.model.named_parameters()))
    for (name, fused), plain in zip(weights[0].items(), weights[1].values(), strict=True):
        assert name.endswith("key.bias") or torch.allclose(fused, plain, atol=1e-5), name


@pytest.mark.parametrize("name", ["adamw", "adamw-fused", "sgd", "adafactor"])
def test_every_optimizer_learns_with_the_rate_it_is_given(name: str) -> None:
    model = ready(optimizer=name)
    batch = collator(split())(np.arange(4))
    rate = 0.05 if name == "sgd" else 1e-3
    losses = [float(training.step(model, [batch], rate)) for _ in range(12)]
    assert losses[-1] < losses[0]
    before = [p.clone() for p in model.model.parameters()]
    training.step(model, [batch], 0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.model.parameters(), strict=True))


def test_frozen_parameters_are_not_in_the_optimizer() -> None:
    model = tiny_model()
    model.base_model.requires_grad_(False)
    built = optimizers.build("adamw", model, 1e-3)
    trained = [p for group in built.param_groups for p in group["params"]]
    assert len(trained) == 2


@pytest.mark.parametrize(("rule", "rate"), [("none", 1e-4), ("sqrt", 2e-4), ("linear", 4e-4)])
def test_rate_scales_with_the_batch(rule: str, rate: float) -> None:
    chosen = strategy(batch_size=32, learning_rate=1e-4, learning_rate_scaling=rule)
    assert optimizers.peak_rate(chosen) == pytest.approx(rate)


def test_bf16_autocast_keeps_fp32_weights_and_computes_in_bf16() -> None:
    model = tiny_model()
    model.base_model.get_submodule("encoder.layer.0").requires_grad_(False)
    precision = Precision("bf16", CPU)
    precision.prepare(model)
    with precision.autocast():
        assert model(torch.tensor([[5, 6]])).logits.dtype is torch.bfloat16
    kinds = {name: p.dtype for name, p in model.named_parameters()}
    assert kinds["bert.encoder.layer.0.output.dense.weight"] is torch.bfloat16
    assert kinds["bert.encoder.layer.1.output.dense.weight"] is torch.float32
    assert kinds["bert.encoder.layer.0.output.LayerNorm.weight"] is torch.float32


def test_casting_frozen_weights_once_changes_no_result() -> None:
    answers = []
    for prepared in (False, True):
        model = tiny_model()
        model.base_model.get_submodule("encoder.layer.0").requires_grad_(False)
        precision = Precision("bf16", CPU)
        if prepared:
            precision.prepare(model)
        with precision.autocast():
            answers.append(model(torch.tensor([[5, 6, 7]])).logits)
    assert torch.equal(*answers)


def test_pure_bf16_casts_everything_and_fp32_nothing() -> None:
    for name, kind in (("bf16-pure", torch.bfloat16), ("fp32", torch.float32)):
        model = tiny_model()
        Precision(name, CPU).prepare(model)
        assert {p.dtype for p in model.parameters()} == {kind}


@pytest.mark.parametrize("name", ["tf32", "fp16"])
def test_gpu_precisions_are_refused_on_a_cpu(name: str) -> None:
    with pytest.raises(Unsupported, match=name):
        Precision(name, CPU)


def test_windows_add_up_warm_up_first_and_end_at_rungs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "WINDOW_SECONDS", math.inf)
    collate = collator(split(20))
    schedule = plan(collate, 24)
    schedule = type(schedule)(**{**vars(schedule), "rungs": frozenset({6, 12})})
    seen = list(training.train(ready(), schedule, NO_METER))
    assert [p.step for p in seen] == [5, 6, 12, 24]
    assert [p.window.warmup for p in seen] == [True, False, False, False]
    assert sum(p.window.examples for p in seen) == seen[-1].examples == 96
    assert all(math.isfinite(p.loss) for p in seen)


def test_one_step_is_a_run_without_warm_up() -> None:
    seen = list(training.train(ready(), plan(collator(split()), 1), NO_METER))
    assert [(p.step, p.window.warmup) for p in seen] == [(1, False)]


def test_training_goes_on_in_train_mode_after_a_pause() -> None:
    model = ready()
    for _ in training.train(model, plan(collator(split()), 12), NO_METER):
        assert model.model.training
        model.model.eval()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["tf32", "fp16", "bf16", "bf16-pure"])
def test_precisions_learn_on_cuda(name: str) -> None:
    device = torch.device("cuda:0")
    model = tiny_model().to(device)
    precision = Precision(name, device)
    precision.prepare(model)
    built = optimizers.build("adamw-fused", model, 1e-3)
    state = training.TrainState(model, model, built, precision, 1e-3, None, device)
    batch = collator(split())(np.arange(8))
    inputs = {key: value.to(device) for key, value in batch.inputs.items()}
    batch = type(batch)(inputs, batch.labels.to(device), batch.judged)
    losses = [float(training.step(state, [batch], 1e-3)) for _ in range(15)]
    assert losses[-1] < losses[0]
    wanted = "high" if name == "tf32" else "highest"
    assert torch.get_float32_matmul_precision() == wanted
