"""Exported folders really run, without autotune, and train what the trial trained."""

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

from autotune.domain import Job, Limits, Strategy, Trial
from autotune.errors import UsageError
from autotune.export import exporter
from autotune.export.templates import single_process
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
RUNNERS = ("hf-trainer", "accelerate", "lightning", "ray-train")
CLOSE = 2e-4


@dataclass(frozen=True)
class Ran:
    folder: Path

    @property
    def metrics(self) -> Any:
        return json.loads((self.folder / "metrics.json").read_bytes())

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.folder / "trained/model.safetensors")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ran]:
    """Export to a format and launch its command, in a Python that may not import autotune."""
    home = tmp_path_factory.mktemp("runs")
    study = samples.study(samples.write_data(home, 80))
    wall = home / "wall" / "autotune"
    wall.mkdir(parents=True)
    (wall / "__init__.py").write_text("raise ImportError('an export needs no autotune')")
    done: dict[str, Ran] = {}

    def run(name: str, **levers: Any) -> Ran:
        key = "-".join([name, *levers])
        if key not in done:
            folder = home / key
            exporter(name).export(study, samples.trial(**{**LEVERS, **levers}), folder)
            command = launchable(json.loads((folder / "strategy.json").read_bytes())["command"])
            environment = {
                **os.environ,
                "PYTHONPATH": str(wall.parent),
                "TUNED_REFERENCE": "1",
                "RAY_ADDRESS": "local",  # not the cluster of a test that runs beside this one
                "RAY_DEDUP_LOGS": "0",
                "OMP_NUM_THREADS": "1",
            }
            ended = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240,
                check=False,
            )  # fmt: skip
            assert ended.returncode == 0, ended.stderr[-3000:]
            done[key] = Ran(folder)
        return done[key]

    return run


def apart(one: Ran, other: Ran) -> float:
    """The largest difference between two trained models, weight by weight."""
    here, there = one.weights, other.weights
    assert here.keys() == there.keys()
    return max(float((here[name] - there[name]).abs().max()) for name in here)


@pytest.mark.parametrize("name", RUNNERS)
def test_every_trainer_trains_the_same_model(run: Callable[..., Ran], name: str) -> None:
    assert apart(run(name), run("torchrun")) < CLOSE


def test_micro_batches_larger_than_the_batch_end(run: Callable[..., Ran]) -> None:
    levers = {"batch_size": 8, "micro_batch_size": 16}
    assert apart(run("accelerate", **levers), run("torchrun", **levers)) < CLOSE


def test_training_changes_the_model(run: Callable[..., Ran]) -> None:
    """Else the test above would hold for scripts that do nothing."""
    start = load_file(run("torchrun").folder / "model/model.safetensors")
    trained = run("torchrun").weights
    name = next(key for key in trained if key.endswith("layer.1.output.LayerNorm.weight"))
    before = start[name.removeprefix("bert.")]
    assert float((trained[name] - before).abs().max()) > 10 * CLOSE
    frozen = next(key for key in trained if key.endswith("word_embeddings.weight"))
    assert torch.equal(trained[frozen], start[frozen.removeprefix("bert.")])


def test_the_trial_itself_scores_the_same(run: Callable[..., Ran], tmp_path: Path) -> None:
    from autotune.trial.run import run_trial

    ran = run("torchrun")
    document = json.loads((ran.folder / "strategy.json").read_bytes())
    strategy = Strategy(document["strategy"])
    task = samples.study(Path(document["task"]["dataset"]["train"])).task
    threads = torch.get_num_threads()
    job = Job("s", 0, strategy, task, 0, required_resources(strategy), Limits(), str(tmp_path))
    outcome = run_trial(job, lambda point: None)
    torch.set_num_threads(threads)
    measured = outcome.result.measurements
    assert ran.metrics["validation"]["accuracy"]["value"] == measured["accuracy"].value
    assert ran.metrics["validation"]["f1"]["value"] == pytest.approx(measured["f1"].value)


@pytest.mark.parametrize("name", [*RUNNERS, "torchrun"])
def test_every_script_measures_itself(run: Callable[..., Ran], name: str) -> None:
    metrics = run(name).metrics
    assert sum(window["examples"] for window in metrics["windows"]) == 64  # 80% of 80
    assert metrics["windows"][0]["warmup"]
    assert metrics["train_samples_per_second"] > 0
    assert len(metrics["reference_seconds"]) >= 2
    assert metrics["test"]["accuracy"]["n"] == 8


def test_two_processes_train_the_model_of_one(run: Callable[..., Ran]) -> None:
    alone = run("torchrun", dropout=0.0)
    together = run("torchrun", dropout=0.0, parallelism="ddp:2")
    assert apart(together, alone) < CLOSE
    assert sum(window["examples"] for window in together.metrics["windows"]) == 64


def test_the_model_loads_natively_and_pruned(run: Callable[..., Ran]) -> None:
    trained = run("torchrun").folder / "trained"
    padded = AutoModelForSequenceClassification.from_pretrained(trained).train(False)
    pruned = load_pruned(AutoModelForSequenceClassification, trained).train(False)
    assert pruned.num_parameters() < padded.num_parameters()
    tokens = torch.arange(5, 21).view(2, 8)
    with torch.inference_mode():
        assert torch.allclose(padded(tokens).logits, pruned(tokens).logits, atol=1e-5)
    assert set(padded.config.label2id) == set(samples.WORDS)


def test_with_model_hides_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is split over GPUs wants those after its own."""
    seen: list[str] = []

    def fine_tune(*given: Any) -> None:
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
        raise InterruptedError

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setattr(single_process, "take_cores", lambda strategy, rank: None)
    monkeypatch.setattr(single_process, "fine_tune", fine_tune)
    threads = torch.get_num_threads()
    study = samples.study(samples.write_data(tmp_path, 80))
    exporter("torchrun").export(study, samples.trial(), tmp_path / "out")
    with pytest.raises(InterruptedError):
        single_process.run(str(tmp_path / "out"), "checkpoint")
    torch.set_num_threads(threads)
    assert seen == ["2,3"]


def test_with_model_refuses_weights_in_host_memory(tmp_path: Path) -> None:
    from autotune.export.checkpoint import add_model

    study = samples.study(samples.write_data(tmp_path, 80))
    odd = samples.trial(device="cuda:0", offload="parameters")
    exporter("torchrun").export(study, odd, tmp_path / "out")
    nobody: Any = None
    with pytest.raises(UsageError, match="offload = parameters"):
        add_model(tmp_path / "out", nobody)


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
    assert "base_model" not in card  # a builtin is no name on the hub
    for said in ("validation accuracy", "test accuracy", "75.0%", "`bucketed`", "food, weather"):
        assert said in card
