"""Exported folders run without autotune and train the model of the trial."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from autotune.domain import BEST_STEP, Job, Limits, Strategy, Trial
from autotune.errors import UsageError
from autotune.export import exporter
from autotune.export.templates import loop
from autotune.export.templates.checkpoint import load_pruned
from autotune.export.verify import launchable
from autotune.levers import required_resources
from tests.export import samples

LEVERS: Mapping[str, Any] = {
    "batch_size": 16,
    "micro_batch_size": 8,
    "padding": "bucketed",
    "pruning_ratio": 0.5,
    "freeze_layers": 1,
    "learning_rate": 2e-3,
    "allocator": "tuned",
}
EVALUATIONS: Mapping[str, Any] = {"evaluate_every": 3, "best_metric": "loss"}
"""Of four steps, the third and the last are evaluated."""

TRAINERS = ("hf-trainer", "accelerate", "lightning", "ray-train")
TOLERANCE = 2e-4


@dataclass(frozen=True)
class ExportRun:
    folder: Path

    @property
    def metrics(self) -> Any:
        return json.loads((self.folder / "metrics.json").read_bytes())

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.folder / "trained/model.safetensors")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ExportRun]:
    """Export to a format and run its command in a Python that cannot import autotune. Without
    levers of its own, a run has evaluations."""
    root = tmp_path_factory.mktemp("runs")
    data = samples.write_data(root, 80)
    blocked = root / "blocked" / "autotune"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('an export needs no autotune')")
    runs: dict[str, ExportRun] = {}

    def run(name: str, **levers: Any) -> ExportRun:
        key = "-".join([name, *levers])
        if key not in runs:
            folder = root / key
            study = samples.study(data, **({} if levers else EVALUATIONS))
            exporter(name).export(study, samples.trial(**{**LEVERS, **levers}), folder)
            command = launchable(json.loads((folder / "strategy.json").read_bytes())["command"])
            environment = {
                **os.environ,
                "PYTHONPATH": str(blocked.parent),
                "TUNED_REFERENCE": "1",
                "RAY_ADDRESS": "local",  # not the cluster of a concurrent test
                "RAY_DEDUP_LOGS": "0",
                "OMP_NUM_THREADS": "1",
            }
            process = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240,
                check=False,
            )  # fmt: skip
            assert process.returncode == 0, process.stderr[-3000:]
            runs[key] = ExportRun(folder)
        return runs[key]

    return run


def max_difference(first: ExportRun, second: ExportRun) -> float:
    """The largest difference between the weights of two trained models."""
    weights, other_weights = first.weights, second.weights
    assert weights.keys() == other_weights.keys()
    return max(float((weights[n] - other_weights[n]).abs().max()) for n in weights)


@pytest.mark.parametrize("name", TRAINERS)
def test_every_trainer_trains_the_same_model(run: Callable[..., ExportRun], name: str) -> None:
    assert max_difference(run(name), run("torchrun")) < TOLERANCE


def test_micro_batches_can_be_larger_than_the_batch(run: Callable[..., ExportRun]) -> None:
    levers = {"batch_size": 8, "micro_batch_size": 16}
    assert max_difference(run("accelerate", **levers), run("torchrun", **levers)) < TOLERANCE


def test_training_changes_the_model(run: Callable[..., ExportRun]) -> None:
    """Otherwise the test above would pass for scripts that do nothing."""
    initial = load_file(run("torchrun").folder / "model/model.safetensors")
    trained = run("torchrun").weights
    name = next(key for key in trained if key.endswith("layer.1.output.LayerNorm.weight"))
    before = initial[name.removeprefix("bert.")]
    assert float((trained[name] - before).abs().max()) > 10 * TOLERANCE
    frozen = next(key for key in trained if key.endswith("word_embeddings.weight"))
    assert torch.equal(trained[frozen], initial[frozen.removeprefix("bert.")])


def test_the_trial_has_the_same_scores(run: Callable[..., ExportRun], tmp_path: Path) -> None:
    from autotune.trial.run import run_trial

    export = run("torchrun")
    document = json.loads((export.folder / "strategy.json").read_bytes())
    strategy = Strategy(document["strategy"])
    task = samples.study(Path(document["task"]["dataset"]["train"]), **EVALUATIONS).task
    threads = torch.get_num_threads()
    job = Job("s", 0, strategy, task, 0, required_resources(strategy), Limits(), str(tmp_path))
    outcome = run_trial(job, lambda point: None)
    torch.set_num_threads(threads)
    measured = outcome.result.measurements
    assert export.metrics["validation"]["accuracy"]["value"] == measured["accuracy"].value
    assert export.metrics["best_step"] == outcome.result.environment[BEST_STEP]
    assert export.metrics["validation"]["f1"]["value"] == pytest.approx(measured["f1"].value)


@pytest.mark.parametrize("name", [*TRAINERS, "torchrun"])
def test_every_script_writes_metrics(run: Callable[..., ExportRun], name: str) -> None:
    metrics = run(name).metrics
    assert sum(window["examples"] for window in metrics["windows"]) == 64  # 80% of 80
    assert metrics["windows"][0]["warmup"]
    assert metrics["train_samples_per_second"] > 0
    assert len(metrics["reference_seconds"]) >= 2
    assert metrics["test"]["accuracy"]["n"] == 8


@pytest.mark.parametrize("name", [*TRAINERS, "torchrun"])
def test_every_trainer_keeps_the_best_weights(run: Callable[..., ExportRun], name: str) -> None:
    metrics = run(name).metrics
    losses = {evaluation["step"]: evaluation["loss"] for evaluation in metrics["evaluations"]}
    assert list(losses) == [3, 4]
    assert metrics["best_step"] == min(losses, key=lambda step: losses[step])
    assert not list(run(name).folder.glob("checkpoints/checkpoint-best-*"))
    best = next(e for e in metrics["evaluations"] if e["step"] == metrics["best_step"])
    assert metrics["validation"]["accuracy"]["value"] == best["accuracy"]


def test_the_kept_weights_are_not_the_last(run: Callable[..., ExportRun]) -> None:
    """Otherwise the test above would pass for scripts that restore nothing."""
    assert run("torchrun").metrics["best_step"] == 3


def test_two_processes_train_the_model_of_one(run: Callable[..., ExportRun]) -> None:
    single = run("torchrun", dropout=0.0)
    parallel = run("torchrun", dropout=0.0, parallelism="ddp:2")
    assert max_difference(parallel, single) < TOLERANCE
    assert sum(window["examples"] for window in parallel.metrics["windows"]) == 64


def test_the_model_loads_with_and_without_padded_heads(run: Callable[..., ExportRun]) -> None:
    trained = run("torchrun").folder / "trained"
    padded = AutoModelForSequenceClassification.from_pretrained(trained).train(False)
    pruned = load_pruned(AutoModelForSequenceClassification, trained).train(False)
    assert pruned.num_parameters() < padded.num_parameters()
    tokens = torch.arange(5, 21).view(2, 8)
    with torch.inference_mode():
        assert torch.allclose(padded(tokens).logits, pruned(tokens).logits, atol=1e-5)
    assert set(padded.config.label2id) == set(samples.WORDS)


def test_with_model_hides_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is split over GPUs needs those after its own."""
    visible_devices: list[str] = []

    def fine_tune(*arguments: Any) -> None:
        visible_devices.append(os.environ["CUDA_VISIBLE_DEVICES"])
        raise InterruptedError

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setattr(loop, "pin_cores", lambda strategy, rank: None)
    monkeypatch.setattr(loop, "fine_tune", fine_tune)
    threads = torch.get_num_threads()
    study = samples.study(samples.write_data(tmp_path, 80))
    exporter("torchrun").export(study, samples.trial(), tmp_path / "out")
    with pytest.raises(InterruptedError):
        loop.run(str(tmp_path / "out"), "checkpoint")
    torch.set_num_threads(threads)
    assert visible_devices == ["2,3"]


def test_with_model_does_not_support_offloaded_parameters(tmp_path: Path) -> None:
    from autotune.export.checkpoint import add_model

    study = samples.study(samples.write_data(tmp_path, 80))
    trial = samples.trial(device="cuda:0", offload="parameters")
    exporter("torchrun").export(study, trial, tmp_path / "out")
    no_executor: Any = None
    with pytest.raises(UsageError, match="offload = parameters"):
        add_model(tmp_path / "out", no_executor)


def test_with_model_adds_the_checkpoint_and_its_card(tmp_path: Path) -> None:
    from autotune.execution.local import LocalExecutor
    from autotune.export.checkpoint import add_model

    study = samples.study(samples.write_data(tmp_path, 80))
    trial: Trial = samples.trial({"accuracy": 0.75}, **LEVERS)
    exporter("lightning").export(study, trial, tmp_path / "out")
    executor = LocalExecutor()
    try:
        files = add_model(tmp_path / "out", executor)
    finally:
        executor.close()
    names = {path.relative_to(tmp_path / "out").as_posix() for path in files}
    assert {
        "checkpoint/model.safetensors",
        "checkpoint/README.md",
        "checkpoint/pruning.json",
    } <= names
    card = (tmp_path / "out/checkpoint/README.md").read_text()
    assert "base_model" not in card  # a builtin is not a hub id
    for text in ("validation accuracy", "test accuracy", "75.0%", "`bucketed`", "food, weather"):
        assert text in card
