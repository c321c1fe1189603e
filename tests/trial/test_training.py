"""The training loop: losses, optimizers, precision, windows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_model
from torch import nn
from transformers import Trainer, TrainingArguments
from trial_cases import (
    CPU,
    CROSS_ENTROPY,
    build_optimizer,
    make_collator,
    make_plan,
    make_split,
    make_state,
    make_strategy,
)

from autotune.domain.training import peak_learning_rate
from autotune.errors import Unsupported
from autotune.measure.energy import EnergyMeter
from autotune.trial import training
from autotune.trial.effects import optimizers
from autotune.trial.effects.precision import Precision
from autotune.trial.state import TrainState

NO_METER = EnergyMeter([])


def test_losses_and_weights_are_those_of_trainer(tmp_path: Path) -> None:
    """With the same data order and no dropout, the defaults must match Trainer at every step."""
    data, steps = make_split(22), 6
    state = make_state(rate=5e-4)
    collate = make_collator(data)
    plan = make_plan(collate, steps)
    batches = [batch for _, batch in zip(range(steps), plan.batches(), strict=False)]

    class SameOrderTrainer(Trainer):
        def _get_train_sampler(self, train_dataset: object = None) -> list[int]:  # type: ignore[override]
            return [int(row) for batch in batches for row in batch]

    trainer_model = make_state().model
    arguments = TrainingArguments(
        str(tmp_path), per_device_train_batch_size=4, max_steps=steps, learning_rate=5e-4,
        use_cpu=True, report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True,
    )  # fmt: skip
    trainer = SameOrderTrainer(
        trainer_model, arguments, train_dataset=_examples(data), data_collator=_pad
    )
    trainer.train()
    expected = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    losses = [
        float(training.train_step(state, [collate(batch)], 5e-4 * (1 - step / steps)))
        for step, batch in enumerate(batches)
    ]
    assert losses == pytest.approx(expected, abs=1e-4)
    weights = zip(state.model.named_parameters(), trainer_model.parameters(), strict=True)
    for (name, weight), trainer_weight in weights:
        # Softmax makes the gradient of a key's bias zero; AdamW follows its rounding errors.
        is_close = torch.allclose(weight, trainer_weight, atol=2e-5)
        assert name.endswith("key.bias") or is_close, name


def _examples(data: object) -> list[dict[str, torch.Tensor]]:
    collate = make_collator(data)  # type: ignore[arg-type]
    batches = [collate(np.array([row])) for row in range(len(collate.split))]
    return [{"input_ids": b.inputs["input_ids"][0], "labels": b.labels[0]} for b in batches]


def _pad(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    ids = nn.utils.rnn.pad_sequence([row["input_ids"] for row in rows], batch_first=True)
    labels = torch.stack([row["labels"] for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}


def test_accumulated_gradients_equal_those_of_the_batch() -> None:
    gradients = []
    for size in (8, 3):
        state = make_state()
        collate = make_collator(make_split())
        copies: list[torch.Tensor] = []
        state.optimizer.register_step_pre_hook(
            lambda opt, *_, copies=copies, model=state.model: copies.extend(
                p.grad.clone() for p in model.parameters()
            )
        )
        plan = make_plan(collate, 1, batch=8, micro=size)
        micro_batches = [collate(rows) for rows in plan.micro_batches(np.arange(8))]
        training.train_step(state, micro_batches, 1e-3)
        gradients.append(copies)
    for gradient, accumulated in zip(*gradients, strict=True):
        assert torch.allclose(gradient, accumulated, atol=1e-6)


def test_fused_clipping_equals_clip_grad_norm() -> None:
    batch = make_collator(make_split())(np.arange(4))
    weights = []
    for name in ("adamw-fused", "adamw"):
        state = make_state(optimizer=name)
        state.model.get_input_embeddings().weight.data.mul_(3)
        for _ in range(3):
            (state.loss(state.model(**batch.inputs).logits, batch.labels) * 50).backward()
            optimizers.take_step(state.optimizer, state.precision, 1e-3)
        weights.append(dict(state.model.named_parameters()))
    for (name, fused), plain in zip(weights[0].items(), weights[1].values(), strict=True):
        assert name.endswith("key.bias") or torch.allclose(fused, plain, atol=1e-5), name


@pytest.mark.parametrize("name", ["adamw", "adamw-fused", "sgd", "adafactor"])
def test_every_optimizer_learns_at_the_given_learning_rate(name: str) -> None:
    state = make_state(optimizer=name)
    batch = make_collator(make_split())(np.arange(4))
    rate = 0.05 if name == "sgd" else 1e-3
    losses = [float(training.train_step(state, [batch], rate)) for _ in range(12)]
    assert losses[-1] < losses[0]
    before = [p.clone() for p in state.model.parameters()]
    training.train_step(state, [batch], 0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, state.model.parameters(), strict=True))


def test_frozen_parameters_are_not_in_the_optimizer() -> None:
    model = tiny_model()
    model.base_model.requires_grad_(False)
    optimizer = build_optimizer("adamw", model, 1e-3)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(parameters) == 2


@pytest.mark.parametrize(("rule", "rate"), [("none", 1e-4), ("sqrt", 2e-4), ("linear", 4e-4)])
def test_learning_rate_scales_with_the_batch_size(rule: str, rate: float) -> None:
    strategy = make_strategy(batch_size=32, learning_rate=1e-4, learning_rate_scaling=rule)
    assert peak_learning_rate(strategy) == pytest.approx(rate)


def test_bf16_autocast_keeps_fp32_weights_and_computes_in_bf16() -> None:
    model = tiny_model()
    model.base_model.get_submodule("encoder.layer.0").requires_grad_(False)
    precision = Precision("bf16", CPU)
    precision.prepare(model)
    with precision.autocast():
        assert model(torch.tensor([[5, 6]])).logits.dtype is torch.bfloat16
    dtypes = {name: p.dtype for name, p in model.named_parameters()}
    assert dtypes["bert.encoder.layer.0.output.dense.weight"] is torch.bfloat16
    assert dtypes["bert.encoder.layer.1.output.dense.weight"] is torch.float32
    assert dtypes["bert.encoder.layer.0.output.LayerNorm.weight"] is torch.float32


def test_casting_frozen_weights_once_changes_no_result() -> None:
    outputs = []
    for is_prepared in (False, True):
        model = tiny_model()
        model.base_model.get_submodule("encoder.layer.0").requires_grad_(False)
        precision = Precision("bf16", CPU)
        if is_prepared:
            precision.prepare(model)
        with precision.autocast():
            outputs.append(model(torch.tensor([[5, 6, 7]])).logits)
    assert torch.equal(*outputs)


def test_pure_bf16_casts_everything_and_fp32_nothing() -> None:
    for name, dtype in (("bf16-pure", torch.bfloat16), ("fp32", torch.float32)):
        model = tiny_model()
        Precision(name, CPU).prepare(model)
        assert {p.dtype for p in model.parameters()} == {dtype}


@pytest.mark.parametrize("name", ["tf32", "fp16"])
def test_gpu_precisions_are_unsupported_on_a_cpu(name: str) -> None:
    with pytest.raises(Unsupported, match=name):
        Precision(name, CPU)


def run_all(loop: training.TrainingLoop) -> list[training.Progress]:
    progress = []
    while not loop.is_finished:
        progress.append(loop.run_window())
    return progress


def test_windows_cover_all_steps_and_end_after_warm_up_and_at_rungs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "WINDOW_SECONDS", math.inf)
    plan = replace(make_plan(make_collator(make_split(20)), 24), rungs=frozenset({6, 12}))
    progress = run_all(training.TrainingLoop(make_state(), plan, NO_METER))
    assert [p.step for p in progress] == [5, 6, 12, 24]
    assert [p.window.warmup for p in progress] == [True, False, False, False]
    assert sum(p.window.examples for p in progress) == progress[-1].examples == 96
    assert all(math.isfinite(p.loss) for p in progress)


@pytest.mark.parametrize(("examples", "is_dynamic"), [(23, False), (23, True), (21, True)])
def test_a_window_in_which_another_batch_size_is_compiled_is_no_speed(
    examples: int, is_dynamic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 23 examples, the sixth batch of an epoch has three. Its size is compiled once, unless
    sizes are dynamic; a batch of one is compiled always."""
    monkeypatch.setattr(training, "WINDOW_SECONDS", 0.0)
    state = make_state()
    forward = torch.compile(state.model, dynamic=is_dynamic, backend="eager")
    plan = make_plan(make_collator(make_split(examples, shortest=8, longest=8)), 24)
    progress = run_all(training.TrainingLoop(replace(state, forward=forward), plan, NO_METER))
    assert [p.step for p in progress if p.window.warmup] == [1, 2, 3, 4, 5]
    disturbed = [p.step for p in progress if p.window.disturbed]
    assert disturbed == ([] if is_dynamic and examples == 23 else [6])


def test_one_step_is_a_run_without_warm_up() -> None:
    plan = make_plan(make_collator(make_split()), 1)
    progress = run_all(training.TrainingLoop(make_state(), plan, NO_METER))
    assert [(p.step, p.window.warmup) for p in progress] == [(1, False)]


def test_training_continues_in_train_mode_after_a_pause() -> None:
    state = make_state()
    loop = training.TrainingLoop(state, make_plan(make_collator(make_split()), 12), NO_METER)
    while not loop.is_finished:
        loop.run_window()
        assert state.model.training
        state.model.eval()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["tf32", "fp16", "bf16", "bf16-pure"])
def test_precisions_learn_on_cuda(name: str) -> None:
    device = torch.device("cuda:0")
    model = tiny_model().to(device)
    precision = Precision(name, device)
    precision.prepare(model)
    optimizer = build_optimizer("adamw-fused", model, 1e-3)
    state = TrainState(model, model, optimizer, precision, 1e-3, None, device, CROSS_ENTROPY)
    batch = make_collator(make_split())(np.arange(8))
    inputs = {key: value.to(device) for key, value in batch.inputs.items()}
    batch = type(batch)(inputs, batch.labels.to(device), batch.num_labels)
    losses = [float(training.train_step(state, [batch], 1e-3)) for _ in range(15)]
    assert losses[-1] < losses[0]
    expected = "high" if name == "tf32" else "highest"
    assert torch.get_float32_matmul_precision() == expected
