"""Tuning a Trainer: trials are fine-tunes of the user's own objects, in other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_callback import TrainerCallback
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from autotune import api
from autotune.api import trainer_trial, tuned_trainer
from autotune.api.trainer_parts import TrainerParts
from autotune.api.tuned_trainer import TunedTrainer
from autotune.domain import (
    BEST_STEP,
    Device,
    Host,
    Job,
    Limits,
    State,
    Study,
    Trial,
    TrialResult,
)
from autotune.domain.metrics import METRICS
from autotune.errors import AutotuneError, SpecError, UsageError
from autotune.levers import required_resources
from autotune.trial.builtin import build_bert_tiny
from autotune.trial.recorder import TrialRecorder

LENGTH_STEP = 3


class StepCounter(TrainerCallback):
    """A callback of the user."""

    steps = 0

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.steps += 1


def make_dataset(count: int) -> Dataset:
    """Sequences of two lengths in turn; the label says which."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(5, 90, 4 + LENGTH_STEP * (n % 2)).tolist() for n in range(count)]
    return Dataset.from_dict(
        {
            "input_ids": rows,
            "attention_mask": [[1] * len(row) for row in rows],
            "labels": [n % 2 for n in range(count)],
        }
    )


def make_study(parts: TrainerParts, space: Mapping[str, Any]) -> Study:
    """The study of a Trainer on a host with one core and a compiler."""
    host = Host(
        cpu="test", cores=(0,), physical_cores=1, memory_gib=8.0, devices=(Device("cpu", "cpu"),),
        tools=("c++", "python.h"),
    )  # fmt: skip
    return tuned_trainer._study(
        "best", parts, host, objectives=["train_samples_per_second", "accuracy"], constraints=[],
        space=space, budget={"trials": 1}, confirm_seeds=1, metrics={},
    )  # fmt: skip


def keep_best_weights(trainer: Trainer) -> None:
    """Six steps with three evaluations, of which the most accurate one counts."""
    arguments = trainer.args
    arguments.load_best_model_at_end, arguments.max_steps = True, 6
    arguments.eval_strategy, arguments.eval_steps = IntervalStrategy.STEPS, 2
    arguments.save_strategy, arguments.save_steps = SaveStrategy.STEPS, 2
    arguments.metric_for_best_model, arguments.greater_is_better = "accuracy", True


@pytest.fixture(autouse=True)
def registered_metrics() -> Iterator[None]:
    """The user's scores are known to the process until it ends; other tests want none of them."""
    names = set(METRICS)
    yield
    for name in set(METRICS) - names:
        METRICS.unregister(name)


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """A Trainer with functions that only this test module defines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AUTOTUNE_STORAGE", raising=False)
    build_bert_tiny(tmp_path / "tiny", ["one two three four"] * 20, 0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tiny")

    def compute_metrics(prediction: Any) -> dict[str, float]:
        classes = prediction.predictions.argmax(-1)
        hits = classes == prediction.label_ids
        return {"accuracy": float(hits.mean()), "share_of_ones": float(classes.mean())}

    def compute_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        return 2 * torch.nn.functional.cross_entropy(outputs.logits, labels)

    config = BertConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    return Trainer(
        BertForSequenceClassification(config),
        TrainingArguments(
            str(tmp_path / "out"), per_device_train_batch_size=4, learning_rate=1e-3,
            max_steps=12, report_to=[], warmup_steps=2, weight_decay=0.01,
        ),
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=make_dataset(64),
        eval_dataset=make_dataset(20),
        compute_metrics=compute_metrics,
        compute_loss_func=compute_loss,
        callbacks=[StepCounter()],
    )  # fmt: skip


def test_a_trainer_is_tuned_and_comes_back_with_the_best_settings(
    trainer: Trainer, tmp_path: Path
) -> None:
    weights = {name: p.clone() for name, p in trainer.model.named_parameters()}
    result = api.tune(
        trainer,
        objectives=["train_samples_per_second", "share_of_ones"],
        constraints=[],
        metrics={"share_of_ones": "maximize"},
        space={"batch_size": [8], "padding": ["bucketed"],
               "pruning_ratio": [0.5], "freeze_layers": [1]},
        trials=2,
        minutes=None,
        progress=False,
    )  # fmt: skip
    default, tuned = result.trials
    assert [t.state for t in result.trials] == [State.COMPLETE] * 2, [
        t.reason for t in result.trials
    ]
    assert default.strategy["batch_size"] == 4 and tuned.strategy["batch_size"] == 8
    assert default.strategy["learning_rate"] == pytest.approx(1e-3)
    assert {"accuracy", "share_of_ones", "loss", "cost_usd"} <= set(tuned.metrics)
    assert all(torch.equal(weights[name], p) for name, p in trainer.model.named_parameters())

    best = result.apply(trainer, "1")
    assert best is not trainer
    assert best.args.per_device_train_batch_size == 8
    assert best.args.weight_decay == 0.01 and best.args.warmup_steps == 2
    assert best.model.num_parameters() < sum(p.numel() for p in weights.values())
    assert not any(p.requires_grad for p in best.model.bert.embeddings.parameters())
    best.train()
    counter = next(c for c in best.callback_handler.callbacks if isinstance(c, StepCounter))
    assert counter.steps == 12


def test_the_best_weights_of_a_trainer_count_in_its_trials(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_best_weights(trainer)
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=5))
    parts = TrainerParts.of_trainer(trainer)
    study = make_study(parts, {"batch_size": [4]})
    assert (study.task.evaluate_every, study.task.best_metric) == (2, "accuracy")
    job = Job("best", 0, study.baseline, study.task, 0, required_resources(study.baseline),
              Limits(), str(Path.cwd() / "trial"))  # fmt: skip
    recorder = TrialRecorder()
    monkeypatch.setattr(trainer_trial, "init_device", lambda strategy: torch.device("cpu"))
    trainer_trial._fine_tune(parts, study, job, lambda point: None, recorder)
    evaluations = {p.step: p.metrics for p in recorder.curve if "accuracy" in p.metrics}
    assert list(evaluations) == [2, 4, 6]
    best = evaluations[int(recorder.environment[BEST_STEP])]
    assert best["accuracy"] == max(scores["accuracy"] for scores in evaluations.values())
    assert recorder.measurements["loss"].value == pytest.approx(best["loss"], rel=1e-4)
    assert not list(Path(job.directory).glob("checkpoint-*"))


def test_settings_of_tf32_by_transformers_agree_with_those_of_torch() -> None:
    backends: Any = torch.backends
    before = backends.fp32_precision
    try:
        backends.fp32_precision = "tf32"  # as TrainingArguments sets it on a GPU
        trainer_trial._unite_precision_settings()
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        backends.fp32_precision = before
        torch.set_float32_matmul_precision("highest")


def test_a_trial_of_a_trainer_sees_its_gpu_only(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(TrainerParts.of_trainer(trainer), {"batch_size": [4]})
    strategy = study.baseline.with_values(device="cuda:1")
    job = Job("s", 0, strategy, study.task, 0, required_resources(strategy), Limits(), "folder")
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    assert trainer_trial._with_only_its_gpu(job).strategy["device"] == "cuda:0"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"


def test_the_model_reaches_trials_without_a_gpu(trainer: Trainer) -> None:
    model = TrainerParts.of_trainer(trainer).model
    assert model is not None and model is not trainer.model
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def test_a_trainer_with_the_best_settings_keeps_its_best_weights(trainer: Trainer) -> None:
    """Also if its model is pruned and frozen: the weights that count are loaded into it."""
    keep_best_weights(trainer)
    scores = iter((0.2, 0.9, 0.4))
    trainer.compute_metrics = lambda _: {"accuracy": next(scores)}
    study = make_study(TrainerParts.of_trainer(trainer), {"batch_size": [4]})
    strategy = study.baseline.with_values(batch_size=8, pruning_ratio=0.5, freeze_layers=1)
    trial = Trial(1, State.COMPLETE, strategy, result=TrialResult())
    tuned = TunedTrainer(study, [trial], "", {}).apply(trainer, "1")
    tuned.train()
    assert tuned.state.best_global_step == 4
    weights = {name: p.cpu() for name, p in tuned.model.named_parameters()}
    at_step = {n: load_file(f"out/checkpoint-{n}/model.safetensors") for n in (4, 6)}
    equal = {
        n: all(torch.equal(weights[name], saved[name]) for name in weights)
        for n, saved in at_step.items()
    }
    assert equal == {4: True, 6: False}


def test_settings_of_the_trainer_are_the_baseline(trainer: Trainer) -> None:
    parts = TrainerParts.of_trainer(trainer)
    baseline = parts.baseline()
    assert baseline["batch_size"] == 4 and baseline["padding"] == "dynamic"
    assert parts.has_input_ids and parts.has_encoder


def test_compilation_of_any_mode_is_a_baseline_and_can_be_switched_off(trainer: Trainer) -> None:
    for name, value in {
        "torch_compile": True, "torch_compile_backend": "inductor",
        "torch_compile_mode": "reduce-overhead",
    }.items():  # fmt: skip
        setattr(trainer.args, name, value)  # TrainingArguments would set variables of this process
    parts = TrainerParts.of_trainer(trainer)
    study = make_study(parts, {"compile": [False, True]})
    assert study.baseline["compile"] is True
    eager = study.baseline.with_values(compile=False)
    arguments = parts._arguments(study, eager, 0, Path("out"), {})
    assert arguments.torch_compile is False
    assert (arguments.torch_compile_backend, arguments.torch_compile_mode) == (None, None)


def test_what_cannot_be_tuned_is_said(trainer: Trainer) -> None:
    with pytest.raises(UsageError, match="loader_workers cannot be applied"):
        api.tune(trainer, space={"loader_workers": [0, 1]}, progress=False)
    trainer.create_optimizer()
    with pytest.raises(UsageError, match="optimizer"):
        api.tune(trainer, progress=False)


def test_a_trainer_without_data_to_compare_on_is_refused(trainer: Trainer) -> None:
    trainer.eval_dataset = None
    with pytest.raises(UsageError, match="eval_dataset"):
        api.tune(trainer, progress=False)
    trainer.eval_dataset = {"easy": make_dataset(4), "hard": make_dataset(4)}
    with pytest.raises(UsageError, match="several eval_datasets"):
        api.tune(trainer, progress=False)
    trainer.train_dataset = make_dataset(4).to_iterable_dataset()
    with pytest.raises(UsageError, match="train_dataset with a length"):
        api.tune(trainer, progress=False)


def test_the_example_tunes_its_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AUTOTUNE_RUNS", str(tmp_path / "runs"))
    example = Path(__file__).parents[2] / "examples/tune_my_trainer.py"
    command = [sys.executable, str(example), "--trials", "2", "--examples", "24"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "complaint_recall" in run.stdout and "tuned: " in run.stdout
    assert "failed" not in run.stderr


def test_a_score_that_nothing_measures_is_refused(trainer: Trainer) -> None:
    trainer.compute_metrics = None
    with pytest.raises(UsageError, match="no compute_metrics, which measures accuracy"):
        api.tune(trainer, trials=1, minutes=None, progress=False)


def test_a_score_that_compute_metrics_does_not_return_ends_the_search(trainer: Trainer) -> None:
    with pytest.raises(AutotuneError, match="did not return f1"):
        api.tune(
            trainer, objectives=["train_samples_per_second", "f1"], constraints=[],
            space={"batch_size": [8]}, trials=3, minutes=None, progress=False,
        )  # fmt: skip


@pytest.mark.parametrize("limits", [{"minutes": -1}, {"minutes": 0}, {"trials": 0}])
def test_limits_of_the_search_are_checked(trainer: Trainer, limits: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=r"budget\.(minutes|trials)"):
        api.tune(trainer, progress=False, **{"minutes": None, **limits})  # type: ignore[arg-type]
