"""A whole trial, from job to outcome."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from finetune_cases import collator, job, plan, split, strategy

from autotune import levers
from autotune.domain import (
    Completed,
    CurvePoint,
    FailureReason,
    Infeasible,
    Job,
    Phase,
    Pruned,
    Strategy,
    Value,
)
from autotune.domain.metrics import METRICS
from autotune.measure.energy import EnergyMeter
from autotune.trial import profiling, run, setup
from autotune.trial.data.batching import training_collator
from autotune.trial.data.datasets import load_split, prepare
from autotune.trial.effects import devices
from autotune.trial.setup import TrainState, apply_strategy
from autotune.trial.training import train

ALWAYS = set(METRICS) - {"device_memory_gib", "device_memory_reserved_gib", "energy_wh"}


def ignore(point: CurvePoint) -> None:
    return None


@pytest.fixture(autouse=True)
def little_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is not what is tested here."""
    monkeypatch.setattr(profiling, "REFERENCE_CALLS", 1)
    monkeypatch.setattr("autotune.trial.evaluation.LATENCY_CALLS", 10)


class Watched(Strategy):
    """A strategy that remembers which levers were read."""

    read: set[str]

    def __getitem__(self, lever: str) -> Value:
        self.__dict__.setdefault("read", set()).add(lever)
        return super().__getitem__(lever)

    def get(self, lever: str, default: Value) -> Value:
        return self[lever]


def test_a_trial_measures_everything_it_can(tmp_path: Path) -> None:
    points: list[CurvePoint] = []
    outcome = run.run_trial(job(tmp_path, settings={"steps": 12}), points.append)
    assert isinstance(outcome, Completed)
    measured = outcome.result.measurements
    assert set(measured) - {"energy_wh"} == ALWAYS
    assert all(math.isfinite(m.value) and m.unit == METRICS[m.name].unit for m in measured.values())
    assert outcome.result.curve == tuple(points)
    judged = [p for p in points if p.metrics]
    assert [(p.step, "accuracy" in p.metrics) for p in judged[:2]] == [(3, True), (6, True)]
    assert points[-1].step == points[-1].total_steps == 12
    assert measured["train_samples"].value == 12 * 8
    phases = [e.message for e in outcome.result.events if e.kind == "phase"]
    assert [text[0] for text in phases[::2]] == list("1234567")
    assert outcome.result.environment["torch"] == torch.__version__


def test_a_model_without_sdpa_trains_by_default_and_says_that_it_is_eager(tmp_path: Path) -> None:
    asked = job(tmp_path, settings={"steps": 4})
    tokenizer = Path(prepare(asked.task).model_dir)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "vocab_size": 400}
    config = transformers.DebertaV2Config(**sizes, intermediate_size=32)
    folder = tmp_path / "deberta"
    transformers.DebertaV2Model(config).save_pretrained(folder)
    for path in tokenizer.glob("tokenizer*.json"):
        shutil.copy(path, folder)
    asked = replace(asked, task=replace(asked.task, model=str(folder)))
    assert asked.strategy["attention"] == "sdpa"
    outcome = run.run_trial(asked, ignore)
    assert isinstance(outcome, Completed), outcome
    assert set(outcome.result.measurements) - {"energy_wh"} == ALWAYS
    (said,) = [e.message for e in outcome.result.events if e.kind == "model"]
    assert said.startswith("DebertaV2ForSequenceClassification of transformers has no sdpa")
    eager = run.run_trial(
        replace(asked, strategy=asked.strategy.with_values(attention="eager")), ignore
    )
    assert not [e for e in eager.result.events if e.kind == "model"]
    assert eager.result.curve[-1].loss == outcome.result.curve[-1].loss


SCORES = {"accuracy", "f1", "mcc", "loss", "train_samples"}


def test_a_probe_measures_all_that_needs_no_training(tmp_path: Path) -> None:
    points: list[CurvePoint] = []
    asked = replace(job(tmp_path, settings={"steps": 1000}), phases=(Phase.PROFILE,))
    outcome = run.run_trial(asked, points.append)
    assert isinstance(outcome, Completed)
    assert set(outcome.result.measurements) - {"energy_wh"} == ALWAYS - SCORES
    assert points[-1].step < 1000
    assert set(points[-1].metrics) == set(outcome.result.measurements)


def test_a_probe_says_how_long_the_whole_fine_tune_would_take(tmp_path: Path) -> None:
    asked = replace(job(tmp_path, settings={"steps": 1000}), phases=(Phase.PROFILE,))
    measured = {n: m.value for n, m in run.run_trial(asked, ignore).result.measurements.items()}
    whole = measured["setup_seconds"] + 1000 * 8 / measured["train_samples_per_second"]
    assert measured["train_seconds"] == pytest.approx(whole, rel=0.1)
    assert measured["cost_usd"] == pytest.approx(measured["train_seconds"] / 3600)


def test_training_alone_measures_no_speed(tmp_path: Path) -> None:
    asked = replace(job(tmp_path, settings={"steps": 12}), phases=(Phase.TRAIN,))
    measured = set(run.run_trial(asked, ignore).result.measurements)
    assert measured - {"energy_wh"} == SCORES | {"train_seconds", "cost_usd"}


def test_both_halves_train_the_same_model(tmp_path: Path) -> None:
    asked = job(tmp_path, settings={"steps": 12})
    whole = run.run_trial(asked, ignore).result.measurements
    alone = run.run_trial(replace(asked, phases=(Phase.TRAIN,)), ignore).result.measurements
    assert {n: whole[n].value for n in SCORES} == {n: alone[n].value for n in SCORES}


def test_a_test_run_is_judged_on_the_test_split(tmp_path: Path) -> None:
    asked = job(tmp_path, settings={"steps": 2})
    judged = run.run_trial(replace(asked, on_test_split=True), ignore).result.measurements[
        "accuracy"
    ]
    assert judged.n == prepare(asked.task).sizes["test"]


def test_cost_is_the_price_of_the_train_seconds_and_unknown_without_a_price(
    tmp_path: Path,
) -> None:
    priced = job(tmp_path, settings={"steps": 2})
    measured = run.run_trial(priced, ignore).result.measurements
    assert measured["cost_usd"].value == pytest.approx(measured["train_seconds"].value / 3600)
    free = run.run_trial(replace(priced, hourly_usd=None), ignore).result.measurements
    assert not {"cost_usd", "inference_usd_per_million"} & set(free)


def test_every_lever_is_read(tmp_path: Path) -> None:
    asked = job(tmp_path, settings={"steps": None}, pruning_ratio=0.5)
    watched = Watched(asked.strategy.values)
    outcome = run.run_trial(replace(asked, strategy=watched), ignore)
    assert isinstance(outcome, Completed)
    elsewhere = {
        lever.name for lever in levers.LEVERS.values() if "parallelism" in (lever.when or "")
    }  # those in test_parallel.py
    elsewhere.add("node_class")  # the executor has acted on it before the trial begins
    elsewhere.add("split_gpus")  # where a model is split, in test_placement.py
    assert watched.read >= set(levers.LEVERS) - elsewhere


def test_one_process_imports_nothing_distributed() -> None:
    code = (
        "import sys, autotune.trial.run\n"
        "sys.exit(any(\n"
        "    m.startswith(('autotune.trial.distributed.collectives', 'torch.distributed.pipelining'))\n"
        "             for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    asked = job(tmp_path, settings={"steps": 6})
    losses = [run.run_trial(asked, ignore).result.curve[-1].loss for _ in range(2)]
    other = run.run_trial(replace(asked, seed=1), ignore).result.curve[-1].loss
    assert losses[0] == losses[1] != other


def test_a_reason_from_the_search_stops_the_trial_with_its_evidence(tmp_path: Path) -> None:
    def advise(point: CurvePoint) -> str | None:
        return "dominated" if point.metrics else None

    outcome = run.run_trial(job(tmp_path, settings={"steps": 12}), advise)
    assert isinstance(outcome, Pruned) and outcome.reason == "dominated"
    assert outcome.result.curve[-1].step == 3
    assert outcome.result.events


def test_a_diverging_loss_is_infeasible(tmp_path: Path) -> None:
    asked = job(tmp_path, settings={"steps": 40}, learning_rate=1.0, optimizer="sgd")
    asked = replace(asked, strategy=asked.strategy.with_values(learning_rate=1e30))
    outcome = run.run_trial(asked, ignore)
    assert isinstance(outcome, Infeasible) and outcome.failure == FailureReason.NAN_LOSS
    assert outcome.result.events


def test_a_missing_device_is_unsupported(tmp_path: Path) -> None:
    outcome = run.run_trial(job(tmp_path, device="cuda:77"), ignore)
    assert isinstance(outcome, Infeasible) and outcome.failure == FailureReason.UNSUPPORTED
    assert "cuda:77" in outcome.reason


def applied(tmp_path: Path, **values: Any) -> TrainState:
    asked: Job = job(tmp_path, **values)
    prepared = prepare(asked.task)
    rows = load_split(prepared, "train")
    collate = training_collator(asked.strategy, prepared, rows, torch.device("cpu"))
    return apply_strategy(asked.strategy, prepared, collate, seed=0)


def test_attention_and_dropout_are_set_in_the_model(tmp_path: Path) -> None:
    ready = applied(tmp_path, attention="eager", dropout=0.3)
    assert ready.model.config._attn_implementation == "eager"
    rates = {m.p for m in ready.model.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.3}


@pytest.mark.parametrize("score", ["taylor", "magnitude"])
def test_structured_pruning_makes_the_model_smaller(tmp_path: Path, score: str) -> None:
    whole = applied(tmp_path).model.num_parameters()
    ready = applied(tmp_path, pruning_ratio=0.5, pruning_score=score)
    assert ready.model.num_parameters() < whole
    held = {id(p) for group in ready.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in ready.model.parameters()}


def test_unstructured_zeros_stay_zero_through_training(tmp_path: Path) -> None:
    ready = applied(tmp_path, pruning_ratio=0.5, pruning_method="unstructured")
    weight = ready.model.get_submodule("bert.encoder.layer.0.output.dense").weight
    zeros = weight == 0
    assert 0.2 < zeros.float().mean() < 0.8
    list(train(ready, plan(collator(split(classes=2)), 3), EnergyMeter([])))
    assert torch.equal(weight == 0, zeros)


def test_freezing_and_checkpointing_reach_the_model(tmp_path: Path) -> None:
    ready = applied(tmp_path, freeze_layers=2, activation_checkpointing=True)
    frozen = [name for name, p in ready.model.named_parameters() if not p.requires_grad]
    assert any("embeddings" in name for name in frozen)
    assert any("layer.0" in name for name in frozen) and not any("layer.1" in n for n in frozen)
    assert ready.model.is_activation_checkpointing


@pytest.mark.parametrize(("padding", "dynamic"), [("fixed", False), ("bucketed", True)])
def test_compile_wraps_what_training_runs_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, padding: str, dynamic: bool
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(setup.torch, "compile", lambda m, **k: asked.append(k) or (lambda: m))
    ready = applied(tmp_path, compile=True, padding=padding)
    assert asked == [{"dynamic": dynamic}]
    assert ready.run is not ready.model


def test_threads_and_allocator_are_put_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(devices.allocator, "apply", seen.append)
    before = torch.get_num_threads()
    try:
        devices.init_device(strategy(threads=2, allocator="tuned"))
        assert torch.get_num_threads() == 2 and seen == ["tuned"]
    finally:
        torch.set_num_threads(before)
