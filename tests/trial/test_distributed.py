"""Every kind of parallelism trains what one process trains, and fails as one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import parallel_jobs
import psutil
import pytest
import torch
from data_files import rows
from finetune_cases import job
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForMaskedLM

from autotune.domain import Completed, Failed, FailureReason, Infeasible, Job, Limits, Outcome
from autotune.execution.local import LocalExecutor
from autotune.levers.parallelism import layouts
from autotune.ports import Evaluate
from autotune.trial import entry
from autotune.trial.builtin import build_bert_tiny
from autotune.trial.distributed.embedding import by_row

STEPS = 10
SAME: dict[str, Any] = {
    "batch_size": 6,  # 24 examples: the fourth step of an epoch is whole, and 6 / 4 is not
    "dropout": 0.0,
    "learning_rate": 0.02,
    "optimizer": "sgd",  # unlike Adam, it shows where gradients have the wrong scale
    "pipeline_microbatches": 4,
}
KINDS = [str(one) for world in (2, 4) for one in layouts(world)]


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalExecutor]:
    """One forkserver for the whole file. Its environment is of the moment it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        executor = LocalExecutor()
    yield executor
    executor.close()


def run(executor: LocalExecutor, asked: Job, evaluate: Evaluate = parallel_jobs.follow) -> Outcome:
    jobs, told = iter([asked]), []
    executor.run(
        lambda: next(jobs, None), evaluate, lambda _, outcome: told.append(outcome), lambda *_: None
    )
    return told[0]  # type: ignore[no-any-return]


class Home:
    """A model of four heads, data, and trials of one process to compare with."""

    def __init__(self, folder: Path, executor: LocalExecutor, layers: int) -> None:
        self.folder, self.executor = folder, executor
        self.model = str(make_model(folder / "model", layers))

    def job(self, **values: Any) -> Job:
        settings = {"steps": STEPS, "max_length": 24, "model": self.model}
        return job(self.folder, settings=settings, **{**SAME, **values})

    def trained(self, **values: Any) -> tuple[list[float], dict[str, float], dict[str, Any]]:
        """Losses of all steps, scores, and the weights after training."""
        outcome = run(self.executor, self.job(**values))
        assert isinstance(outcome, Completed), outcome
        found = outcome.result.environment
        return found["losses"], found["scores"], load_file(self.folder / "weights.safetensors")

    @cache  # noqa: B019 (as long-lived as the module)
    def alone(self, values: str) -> tuple[list[float], dict[str, float], dict[str, Any]]:
        return self.trained(**json.loads(values))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, executor: LocalExecutor) -> Home:
    return Home(tmp_path_factory.mktemp("home"), executor, layers=4)


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory, executor: LocalExecutor) -> Home:
    """For what takes long for every layer."""
    return Home(tmp_path_factory.mktemp("shallow"), executor, layers=1)


def make_model(folder: Path, layers: int) -> Path:
    build_bert_tiny(folder, [row["text"] for row in rows()], 0)
    config = AutoConfig.from_pretrained(folder)
    config.update({"num_hidden_layers": layers, "num_attention_heads": 4, "initializer_range": 0.2})
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    return folder


def apart(home: Home, kind: str, **values: Any) -> tuple[float, float]:
    """Greatest difference to one process: in the loss of a step, in a weight at the end."""
    losses, scores, weights = home.alone(json.dumps(values))
    its_losses, its_scores, its_weights = home.trained(parallelism=kind, **values)
    assert weights.keys() == its_weights.keys()
    if "precision" not in values:
        assert its_scores == pytest.approx(scores, abs=1e-3)
    pairs = zip(losses, its_losses, strict=True)
    return (
        max(abs(one - other) for one, other in pairs),
        max(float((weights[name] - its_weights[name]).abs().max()) for name in weights),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_what_one_process_trains(home: Home, kind: str) -> None:
    loss, weight = apart(home, kind)
    assert loss < 1e-4
    assert weight < 1e-3


BESIDE: list[tuple[str, dict[str, Any]]] = [
    ("ddp:2", {"micro_batch_size": 2, "ddp_bucket_mib": 1}),
    ("fsdp:2", {"micro_batch_size": 2, "fsdp_reshard": False, "optimizer": "adamw-fused"}),
    ("fsdp:2", {"pruning_ratio": 0.5, "pruning_method": "structured", "freeze_layers": 2}),
    ("fsdp:2", {"pruning_ratio": 0.5, "pruning_method": "unstructured"}),
    ("zero1:2", {"optimizer": "adafactor", "activation_checkpointing": True}),
    ("zero1:2", {"optimizer": "adamw-fused", "freeze_layers": 3}),
    ("tp:2", {"sequence_parallel": True, "activation_checkpointing": True}),
    ("tp:2", {"pruning_ratio": 0.5, "pruning_method": "unstructured", "optimizer": "adamw"}),
    ("tp:2", {"freeze_layers": 2, "optimizer": "adamw-fused", "attention": "eager"}),
    ("pp:2", {"pipeline_schedule": "gpipe", "activation_checkpointing": True}),
    ("pp:2", {"pipeline_schedule": "interleaved", "pipeline_microbatches": 2}),
    ("pp:2", {"pruning_ratio": 0.5, "pruning_method": "structured", "optimizer": "adamw-fused"}),
    ("pp:2", {"pruning_ratio": 0.5, "pruning_method": "unstructured", "freeze_layers": 1}),
    ("pp:2", {"pruning_ratio": 0.25, "pruning_method": "layers", "micro_batch_size": 4}),
    ("pp:2", {"optimizer": "adafactor", "pipeline_microbatches": 2}),
    ("ddp:2 x pp:2", {"optimizer": "adafactor"}),
    ("ddp:2", {"placement": "mixed"}),
    ("ddp:2 x pp:2", {"padding": "fixed", "pipeline_schedule": "interleaved"}),
    ("fsdp:2 x tp:2", {"padding": "bucketed", "sequence_parallel": True, "optimizer": "adamw"}),
]


@pytest.mark.parametrize(("kind", "values"), BESIDE)
def test_kinds_go_with_the_other_levers(home: Home, kind: str, values: dict[str, Any]) -> None:
    if values.get("optimizer", "sgd") != "sgd":
        values = {**values, "learning_rate": 3e-5}
    loss, weight = apart(home, kind, **values)
    assert loss < 1e-4
    assert weight < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp:2", "zero1:2"])
def test_replicas_can_be_compiled(shallow: Home, kind: str) -> None:
    loss, weight = apart(shallow, kind, compile=True, padding="fixed")
    assert loss < 1e-4
    assert weight < 1e-3


@pytest.mark.parametrize("precision", ["bf16", "bf16-pure"])
@pytest.mark.parametrize("kind", ["ddp:2", "fsdp:2", "zero1:2", "tp:2", "pp:2"])
def test_low_precision_rounds_no_more_than_alone(home: Home, kind: str, precision: str) -> None:
    loss, _ = apart(home, kind, precision=precision, learning_rate=1e-3)
    assert loss < 0.05


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("kind", [str(one) for one in layouts(2)])
def test_every_kind_trains_on_gpus_what_one_trains(home: Home, kind: str) -> None:
    loss, weight = apart(home, kind, device="cuda:0")
    assert loss < 1e-3
    assert weight < 1e-2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_and_its_host_train_what_the_gpu_trains(home: Home) -> None:
    alone, _, weights = home.alone(json.dumps({"device": "cuda:0"}))
    losses, _, its_weights = home.trained(parallelism="ddp:2", device="cuda:0", placement="mixed")
    assert losses == pytest.approx(alone, abs=1e-3)
    assert all(torch.allclose(weights[n].cpu(), its_weights[n].cpu(), atol=1e-2) for n in weights)


@pytest.mark.parametrize("padding", [None, 3])
def test_gradients_added_up_by_row_are_those_of_the_whole_table(padding: int | None) -> None:
    table = nn.Embedding(20, 4, padding_idx=padding)
    model = nn.Sequential(copy.deepcopy(table))
    by_row(model)
    for ids in (torch.tensor([[1, 3, 3], [1, 0, 19]]), torch.tensor([[3, 1, 2]])):
        for module in (table, model):
            module(ids).square().sum().backward()
    found = model[0].weight.grad
    assert table.weight.grad is not None and found is not None
    assert torch.allclose(found, table.weight.grad)
    assert [name for name, _ in model.named_parameters()] == ["0.weight"]


def fail(home: Home, how: str, **limits: float) -> Outcome:
    """A trial of two ranks of which rank 1 fails as ``how`` says; nothing may be left of it."""
    asked = replace(home.job(parallelism="ddp:2"), study=how, limits=Limits(**limits))
    outcome = run(home.executor, asked, parallel_jobs.come_to_grief)
    servers = [p for p in psutil.Process().children() if "execution.forkserver" in str(p.cmdline())]
    assert servers
    assert [child for server in servers for child in server.children(recursive=True)] == []
    return outcome


def test_a_rank_that_dies_is_named(home: Home) -> None:
    outcome = fail(home, "die")
    assert isinstance(outcome, Failed) and outcome.failure == FailureReason.CRASH
    assert outcome.reason == "rank 1: killed by SIGKILL"
    assert [point.step for point in outcome.result.curve] == [1]


def test_a_rank_that_raises_is_named(home: Home) -> None:
    outcome = fail(home, "raise")
    assert isinstance(outcome, Failed) and outcome.failure == FailureReason.ERROR
    assert outcome.reason.startswith("rank 1: ValueError: rank 1 has had enough")


def test_a_rank_that_runs_out_of_memory_is_named(home: Home) -> None:
    outcome = fail(home, "run_out")
    assert isinstance(outcome, Infeasible) and outcome.failure == FailureReason.OUT_OF_MEMORY
    assert outcome.reason.startswith("rank 1: ")


def test_the_memory_limit_is_for_all_ranks_together(home: Home) -> None:
    outcome = fail(home, "swell", memory_gib=1.5)
    assert isinstance(outcome, Infeasible) and outcome.failure == FailureReason.OUT_OF_MEMORY
    assert "rank 1 held the most" in outcome.reason


def test_a_rank_that_hangs_is_named_before_the_time_limit(home: Home) -> None:
    outcome = fail(home, "hang", minutes=12 / 60)
    assert isinstance(outcome, Failed) and outcome.failure == FailureReason.ERROR
    assert outcome.reason == "rank 1 hangs: the others waited 3 s for it"


@pytest.mark.parametrize("kind", ["ddp:2", "pp:2"])
def test_a_whole_trial_of_several_processes(home: Home, kind: str) -> None:
    asked = home.job(parallelism=kind, dropout="model")
    outcome = run(home.executor, asked, entry.evaluate)
    assert isinstance(outcome, Completed), outcome
    found = outcome.result.measurements
    assert {"train_samples_per_second", "accuracy", "cost_usd", "peak_memory_gib"} <= set(found)
    assert found["accuracy"].n == 6
    judged = [point.step for point in outcome.result.curve if "accuracy" in point.metrics]
    assert judged == [3, 5]
    peaks = str(outcome.result.environment["peak_memory_gib_by_rank"]).split()
    assert len(peaks) == 2
    assert found["peak_memory_gib"].value == pytest.approx(sum(map(float, peaks)), abs=0.01)
