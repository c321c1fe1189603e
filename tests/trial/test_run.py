"""A trial, from job to outcome."""

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
from trial_cases import make_collator, make_job, make_plan, make_split, make_strategy

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
from autotune.domain.tasks import TASK_KINDS
from autotune.measure.energy import EnergyMeter
from autotune.trial import devices, profiling, run, setup
from autotune.trial.data.batching import training_collator
from autotune.trial.data.datasets import load_split, prepare_task
from autotune.trial.state import TrainState
from autotune.trial.training import TrainingLoop, init_train_state

STAGES = ["1 devices", "2 data", "3 setup", "4 profile", "5 train", "6 evaluate", "7 record"]
SCORES = {"accuracy", "f1", "mcc", "loss", "train_samples"}
OTHER_SCORES = {score for kind in TASK_KINDS.values() for score in kind.scores} - SCORES
ALWAYS = {name for name, metric in METRICS.items() if metric.phase is not Phase.DEPLOY}
ALWAYS -= {"device_memory_gib", "device_memory_reserved_gib", "energy_wh", *OTHER_SCORES}


def ignore(point: CurvePoint) -> None:
    return None


@pytest.fixture(autouse=True)
def few_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save time: the measurements themselves are tested elsewhere."""
    monkeypatch.setattr(profiling, "REFERENCE_CALLS", 1)
    monkeypatch.setattr(profiling, "MAX_PROFILES", 1)  # on a busy machine too
    monkeypatch.setattr("autotune.trial.evaluation.LATENCY_CALLS", 10)


class RecordingStrategy(Strategy):
    """A strategy that records which levers were read."""

    read: set[str]

    def __getitem__(self, lever: str) -> Value:
        self.__dict__.setdefault("read", set()).add(lever)
        return super().__getitem__(lever)

    def get(self, lever: str, default: Value) -> Value:
        return self[lever]


def test_a_trial_measures_everything_it_can(tmp_path: Path) -> None:
    points: list[CurvePoint] = []
    outcome = run.run_trial(make_job(tmp_path, settings={"steps": 12}), points.append)
    assert isinstance(outcome, Completed)
    measured = outcome.result.measurements
    assert set(measured) - {"energy_wh"} == ALWAYS
    assert all(math.isfinite(m.value) and m.unit == METRICS[m.name].unit for m in measured.values())
    assert outcome.result.curve == tuple(points)
    rungs = [p for p in points if p.metrics]
    assert [(p.step, "accuracy" in p.metrics) for p in rungs[:2]] == [(3, True), (6, True)]
    assert points[-1].step == points[-1].total_steps == 12
    assert measured["train_samples"].value == 12 * 8
    stages = [e.message for e in outcome.result.events if e.kind == "phase"]
    assert [text.removesuffix(" begins") for text in stages[::2]] == STAGES
    assert outcome.result.environment["torch"] == torch.__version__


def test_a_model_without_sdpa_uses_eager_attention_and_reports_it(tmp_path: Path) -> None:
    job = make_job(tmp_path, settings={"steps": 4})
    tokenizer = Path(prepare_task(job.task).model_dir)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "vocab_size": 400}
    config = transformers.DebertaV2Config(**sizes, intermediate_size=32)
    folder = tmp_path / "deberta"
    transformers.DebertaV2Model(config).save_pretrained(folder)
    for path in tokenizer.glob("tokenizer*.json"):
        shutil.copy(path, folder)
    job = replace(job, task=replace(job.task, model=str(folder)))
    assert job.strategy["attention"] == "sdpa"
    outcome = run.run_trial(job, ignore)
    assert isinstance(outcome, Completed), outcome
    assert set(outcome.result.measurements) - {"energy_wh"} == ALWAYS
    (message,) = [e.message for e in outcome.result.events if e.kind == "model"]
    assert message.startswith("DebertaV2ForSequenceClassification of transformers has no sdpa")
    eager = run.run_trial(
        replace(job, strategy=job.strategy.with_values(attention="eager")), ignore
    )
    assert not [e for e in eager.result.events if e.kind == "model"]
    assert eager.result.curve[-1].loss == outcome.result.curve[-1].loss


def test_the_profile_phase_measures_everything_but_scores(tmp_path: Path) -> None:
    points: list[CurvePoint] = []
    job = replace(make_job(tmp_path, settings={"steps": 1000}), phases=(Phase.PROFILE,))
    outcome = run.run_trial(job, points.append)
    assert isinstance(outcome, Completed)
    assert set(outcome.result.measurements) - {"energy_wh"} == ALWAYS - SCORES
    assert points[-1].step < 1000
    assert set(points[-1].metrics) == set(outcome.result.measurements)


def test_the_profile_phase_extrapolates_the_duration_of_full_training(tmp_path: Path) -> None:
    job = replace(make_job(tmp_path, settings={"steps": 1000}), phases=(Phase.PROFILE,))
    measured = {n: m.value for n, m in run.run_trial(job, ignore).result.measurements.items()}
    full = measured["setup_seconds"] + 1000 * 8 / measured["train_samples_per_second"]
    assert measured["train_seconds"] == pytest.approx(full, rel=0.1)
    assert measured["cost_usd"] == pytest.approx(measured["train_seconds"] / 3600)


def test_the_train_phase_alone_measures_no_throughput(tmp_path: Path) -> None:
    job = replace(make_job(tmp_path, settings={"steps": 12}), phases=(Phase.TRAIN,))
    measured = set(run.run_trial(job, ignore).result.measurements)
    assert measured - {"energy_wh"} == SCORES | {"train_seconds", "cost_usd"}


def test_profiling_does_not_change_the_trained_model(tmp_path: Path) -> None:
    job = make_job(tmp_path, settings={"steps": 12})
    both_phases = run.run_trial(job, ignore).result.measurements
    train_only = run.run_trial(replace(job, phases=(Phase.TRAIN,)), ignore).result.measurements
    assert {n: both_phases[n].value for n in SCORES} == {n: train_only[n].value for n in SCORES}


def test_a_confirmation_is_evaluated_on_the_test_split(tmp_path: Path) -> None:
    job = make_job(tmp_path, settings={"steps": 2})
    measured = run.run_trial(replace(job, on_test_split=True), ignore).result.measurements
    assert measured["accuracy"].n == prepare_task(job.task).sizes["test"]


def test_cost_is_the_price_of_the_train_seconds_and_unknown_without_a_price(
    tmp_path: Path,
) -> None:
    priced = make_job(tmp_path, settings={"steps": 2})
    measured = run.run_trial(priced, ignore).result.measurements
    assert measured["cost_usd"].value == pytest.approx(measured["train_seconds"].value / 3600)
    free = run.run_trial(replace(priced, hourly_usd=None), ignore).result.measurements
    assert not {"cost_usd", "inference_usd_per_million"} & set(free)


def test_every_lever_is_read(tmp_path: Path) -> None:
    job = make_job(tmp_path, settings={"steps": None}, pruning_ratio=0.5)
    recording = RecordingStrategy(job.strategy.values)
    outcome = run.run_trial(replace(job, strategy=recording), ignore)
    assert isinstance(outcome, Completed)
    tested_elsewhere = {
        lever.name for lever in levers.LEVERS.values() if "parallelism" in (lever.when or "")
    }  # in test_distributed.py
    tested_elsewhere.add("node_class")  # the executor applies it before the trial starts
    tested_elsewhere.add("split_gpus")  # in test_devices.py
    tested_elsewhere |= {"adapter_rank", "adapter_alpha", "adapter_targets"}  # in test_adapters.py
    tested_elsewhere.add("distillation_temperature")  # in test_distillation.py
    tested_elsewhere |= {"model", "max_length"}  # a part of the job's task: spec/test_backbones.py
    tested_elsewhere |= set(filter(levers.is_deployment_lever, levers.LEVERS))  # test_deployment.py
    assert recording.read >= set(levers.LEVERS) - tested_elsewhere


def test_one_process_imports_no_distributed_code() -> None:
    code = (
        "import sys, autotune.trial.run\n"
        "sys.exit(any(\n"
        "    m.startswith(('autotune.trial.distributed.collectives',\n"
        "                  'torch.distributed.pipelining')) for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    job = make_job(tmp_path, settings={"steps": 6})
    losses = [run.run_trial(job, ignore).result.curve[-1].loss for _ in range(2)]
    other = run.run_trial(replace(job, seed=1), ignore).result.curve[-1].loss
    assert losses[0] == losses[1] != other


def test_the_search_can_stop_a_trial_which_keeps_its_results(tmp_path: Path) -> None:
    def should_stop(point: CurvePoint) -> str | None:
        return "dominated" if point.metrics else None

    outcome = run.run_trial(make_job(tmp_path, settings={"steps": 12}), should_stop)
    assert isinstance(outcome, Pruned) and outcome.reason == "dominated"
    assert outcome.result.curve[-1].step == 3
    assert outcome.result.events


def test_a_diverging_loss_is_infeasible(tmp_path: Path) -> None:
    job = make_job(tmp_path, settings={"steps": 40}, learning_rate=1.0, optimizer="sgd")
    job = replace(job, strategy=job.strategy.with_values(learning_rate=1e30))
    outcome = run.run_trial(job, ignore)
    assert isinstance(outcome, Infeasible) and outcome.failure == FailureReason.NAN_LOSS
    assert outcome.result.events


def test_a_missing_device_is_unsupported(tmp_path: Path) -> None:
    outcome = run.run_trial(make_job(tmp_path, device="cuda:77"), ignore)
    assert isinstance(outcome, Infeasible) and outcome.failure == FailureReason.UNSUPPORTED
    assert "cuda:77" in outcome.reason


def train_state(tmp_path: Path, **values: Any) -> TrainState:
    job: Job = make_job(tmp_path, **values)
    prepared = prepare_task(job.task)
    rows = load_split(prepared, "train")
    collate = training_collator(job.strategy, prepared, rows, torch.device("cpu"))
    return init_train_state(job.strategy, prepared, collate, seed=0)


def test_attention_and_dropout_are_set_in_the_model(tmp_path: Path) -> None:
    state = train_state(tmp_path, attention="eager", dropout=0.3)
    assert state.model.config._attn_implementation == "eager"
    rates = {m.p for m in state.model.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.3}


@pytest.mark.parametrize("score", ["taylor", "magnitude"])
def test_structured_pruning_makes_the_model_smaller(tmp_path: Path, score: str) -> None:
    unpruned = train_state(tmp_path).model.num_parameters()
    state = train_state(tmp_path, pruning_ratio=0.5, pruning_score=score)
    assert state.model.num_parameters() < unpruned
    optimized = {id(p) for group in state.optimizer.param_groups for p in group["params"]}
    assert optimized == {id(p) for p in state.model.parameters()}


def test_unstructured_zeros_stay_zero_through_training(tmp_path: Path) -> None:
    state = train_state(tmp_path, pruning_ratio=0.5, pruning_method="unstructured")
    weight = state.model.get_submodule("bert.encoder.layer.0.output.dense").weight
    zeros = weight == 0
    assert 0.2 < zeros.float().mean() < 0.8
    plan = make_plan(make_collator(make_split(classes=2)), 3)
    loop = TrainingLoop(state, plan, EnergyMeter([]))
    while not loop.is_finished:
        loop.run_window()
    assert torch.equal(weight == 0, zeros)


def test_freezing_and_checkpointing_reach_the_model(tmp_path: Path) -> None:
    state = train_state(tmp_path, freeze_layers=2, activation_checkpointing=True)
    frozen = [name for name, p in state.model.named_parameters() if not p.requires_grad]
    assert any("embeddings" in name for name in frozen)
    assert any("layer.0" in name for name in frozen) and not any("layer.1" in n for n in frozen)
    assert state.model.is_activation_checkpointing


@pytest.mark.parametrize(
    ("value", "padding", "options"),
    [
        (True, "fixed", {"dynamic": False}),
        (True, "bucketed", {"dynamic": True}),
        ("cuda-graphs", "fixed", {"dynamic": False, "mode": "reduce-overhead"}),
    ],
)
def test_compile_wraps_only_the_forward_pass_of_training(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: bool | str,
    padding: str,
    options: dict[str, Any],
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(setup.torch, "compile", lambda m, **k: calls.append(k) or (lambda: m))
    state = train_state(tmp_path, compile=value, padding=padding)
    assert calls == [options]
    assert state.forward() is state.model
    assert state.forward is not state.model


def test_threads_and_allocator_are_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: list[str] = []
    monkeypatch.setattr(devices.allocator, "apply", settings.append)
    before = torch.get_num_threads()
    try:
        devices.init_device(make_strategy(threads=2, allocator="tuned"))
        assert torch.get_num_threads() == 2 and settings == ["tuned"]
    finally:
        torch.set_num_threads(before)
