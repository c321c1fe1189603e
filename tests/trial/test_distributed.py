"""Every kind of parallelism trains the model that one process trains, and fails as one trial."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import distributed_jobs
import psutil
import pytest
import torch
from data_files import rows
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForMaskedLM
from trial_cases import make_job

from autotune.domain import (
    BEST_STEP,
    Completed,
    Failed,
    FailureReason,
    Infeasible,
    Job,
    Limits,
    Outcome,
)
from autotune.execution.local import LocalExecutor
from autotune.levers.layout import layouts
from autotune.ports import Evaluate
from autotune.trial import evaluate
from autotune.trial.builtin import build_bert_tiny
from autotune.trial.distributed.embedding import replace_embeddings

STEPS = 10
SETTINGS: dict[str, Any] = {
    "batch_size": 6,  # 24 examples: the last batch of an epoch is full, and 4 ranks do not divide 6
    "dropout": 0.0,
    "learning_rate": 0.02,
    "optimizer": "sgd",  # unlike Adam, it is sensitive to the scale of gradients
    "pipeline_microbatches": 4,
}
KINDS = [str(layout) for world in (2, 4) for layout in layouts(world)]


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalExecutor]:
    """One forkserver for all tests. It keeps the environment of its start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        executor = LocalExecutor()
    yield executor
    executor.close()


def run(
    executor: LocalExecutor,
    job: Job,
    function: Evaluate = distributed_jobs.train_and_return_losses,
) -> Outcome:
    jobs, outcomes = iter([job]), []
    executor.run(
        lambda: next(jobs, None),
        function,
        lambda _, outcome: outcomes.append(outcome),
        lambda *_: None,
    )
    return outcomes[0]  # type: ignore[no-any-return]


class Workspace:
    """A model with four heads, data, and single-process trials to compare with."""

    def __init__(self, folder: Path, executor: LocalExecutor, layers: int) -> None:
        self.folder, self.executor = folder, executor
        self.model = str(make_model(folder / "model", layers))

    def job(self, **values: Any) -> Job:
        settings = {"steps": STEPS, "max_length": 24, "model": self.model}
        return make_job(self.folder, settings=settings, **{**SETTINGS, **values})

    def train(self, **values: Any) -> tuple[list[float], dict[str, float], dict[str, Any]]:
        """Losses of all steps, scores, and the weights after training."""
        outcome = run(self.executor, self.job(**values))
        assert isinstance(outcome, Completed), outcome
        environment = outcome.result.environment
        weights = load_file(self.folder / "weights.safetensors")
        return environment["losses"], environment["scores"], weights

    @cache  # noqa: B019 (lives as long as the module)
    def train_single_process(
        self, values: str
    ) -> tuple[list[float], dict[str, float], dict[str, Any]]:
        return self.train(**json.loads(values))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, executor: LocalExecutor) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"), executor, layers=4)


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory, executor: LocalExecutor) -> Workspace:
    """One layer, for tests whose duration grows with the number of layers."""
    return Workspace(tmp_path_factory.mktemp("shallow"), executor, layers=1)


def make_model(folder: Path, layers: int) -> Path:
    build_bert_tiny(folder, [row["text"] for row in rows()], 0)
    config = AutoConfig.from_pretrained(folder)
    config.update({"num_hidden_layers": layers, "num_attention_heads": 4, "initializer_range": 0.2})
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    return folder


def max_differences(workspace: Workspace, kind: str, **values: Any) -> tuple[float, float]:
    """Largest differences to one process: in the loss of a step, in a weight at the end."""
    losses, scores, weights = workspace.train_single_process(json.dumps(values))
    parallel_losses, parallel_scores, parallel_weights = workspace.train(parallelism=kind, **values)
    assert weights.keys() == parallel_weights.keys()
    if "precision" not in values:
        assert parallel_scores == pytest.approx(scores, abs=1e-3)
    pairs = zip(losses, parallel_losses, strict=True)
    return (
        max(abs(single - parallel) for single, parallel in pairs),
        max(float((weights[name] - parallel_weights[name]).abs().max()) for name in weights),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_the_model_of_one_process(workspace: Workspace, kind: str) -> None:
    loss, weight = max_differences(workspace, kind)
    assert loss < 1e-4
    assert weight < 1e-3


COMBINATIONS: list[tuple[str, dict[str, Any]]] = [
    ("ddp:2", {"micro_batch_size": 2, "ddp_bucket_mib": 1}),
    ("fsdp:2", {"micro_batch_size": 2, "fsdp_reshard": False, "optimizer": "adamw-fused"}),
    ("fsdp:2", {"pruning_ratio": 0.5, "pruning_schedule": "after-warmup", "freeze_layers": 2}),
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


@pytest.mark.parametrize(("kind", "values"), COMBINATIONS)
def test_kinds_combine_with_other_levers(
    workspace: Workspace, kind: str, values: dict[str, Any]
) -> None:
    if values.get("optimizer", "sgd") != "sgd":
        values = {**values, "learning_rate": 3e-5}
    loss, weight = max_differences(workspace, kind, **values)
    assert loss < 1e-4
    assert weight < 1e-3


@pytest.mark.slow
def test_replicas_can_be_compiled(shallow: Workspace) -> None:
    """``zero1`` wraps a compiled model as ``ddp`` does, and shards the optimizer besides."""
    loss, weight = max_differences(shallow, "zero1:2", compile=True, padding="fixed")
    assert loss < 1e-4
    assert weight < 1e-3


@pytest.mark.parametrize("precision", ["bf16", "bf16-pure"])
@pytest.mark.parametrize("kind", ["ddp:2", "fsdp:2", "zero1:2", "tp:2", "pp:2"])
def test_low_precision_rounds_no_more_than_in_one_process(
    workspace: Workspace, kind: str, precision: str
) -> None:
    loss, _ = max_differences(workspace, kind, precision=precision, learning_rate=1e-3)
    assert loss < 0.05


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("kind", [str(layout) for layout in layouts(2)])
def test_every_kind_trains_on_gpus_the_model_of_one_gpu(workspace: Workspace, kind: str) -> None:
    loss, weight = max_differences(workspace, kind, device="cuda:0")
    assert loss < 1e-3
    assert weight < 1e-2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_and_the_cpu_train_the_model_of_the_gpu(workspace: Workspace) -> None:
    single_losses, _, weights = workspace.train_single_process(json.dumps({"device": "cuda:0"}))
    losses, _, its_weights = workspace.train(
        parallelism="ddp:2", device="cuda:0", placement="mixed"
    )
    assert losses == pytest.approx(single_losses, abs=1e-3)
    assert all(torch.allclose(weights[n].cpu(), its_weights[n].cpu(), atol=1e-2) for n in weights)


@pytest.mark.parametrize("padding", [None, 3])
def test_in_place_embeddings_have_the_gradients_of_torchs_embeddings(padding: int | None) -> None:
    table = nn.Embedding(20, 4, padding_idx=padding)
    model = nn.Sequential(copy.deepcopy(table))
    replace_embeddings(model)
    for ids in (torch.tensor([[1, 3, 3], [1, 0, 19]]), torch.tensor([[3, 1, 2]])):
        for module in (table, model):
            module(ids).square().sum().backward()
    gradient = model[0].weight.grad
    assert table.weight.grad is not None and gradient is not None
    assert torch.allclose(gradient, table.weight.grad)
    assert [name for name, _ in model.named_parameters()] == ["0.weight"]


def fail(workspace: Workspace, failure: str, **limits: float) -> Outcome:
    """A trial of two ranks, whose rank 1 fails; no process may remain."""
    job = replace(workspace.job(parallelism="ddp:2"), study=failure, limits=Limits(**limits))
    outcome = run(workspace.executor, job, distributed_jobs.fail_on_rank_1)
    servers = [p for p in psutil.Process().children() if "execution.forkserver" in str(p.cmdline())]
    assert servers
    assert [child for server in servers for child in server.children(recursive=True)] == []
    return outcome


def test_a_rank_that_dies_is_named(workspace: Workspace) -> None:
    outcome = fail(workspace, "die")
    assert isinstance(outcome, Failed) and outcome.failure == FailureReason.CRASH
    assert outcome.reason == "rank 1: killed by SIGKILL"
    assert [point.step for point in outcome.result.curve] == [1]


def test_a_rank_that_raises_is_named(workspace: Workspace) -> None:
    outcome = fail(workspace, "raise")
    assert isinstance(outcome, Failed) and outcome.failure == FailureReason.ERROR
    assert outcome.reason.startswith("rank 1: ValueError: rank 1 has failed")


def test_a_rank_that_runs_out_of_memory_is_named(workspace: Workspace) -> None:
    outcome = fail(workspace, "run_out")
    assert isinstance(outcome, Infeasible) and outcome.failure == FailureReason.OUT_OF_MEMORY
    assert outcome.reason.startswith("rank 1: ")


def test_the_memory_limit_applies_to_the_sum_over_ranks(workspace: Workspace) -> None:
    outcome = fail(workspace, "grow", memory_gib=1.5)
    assert isinstance(outcome, Infeasible) and outcome.failure == FailureReason.OUT_OF_MEMORY
    assert "rank 1 used the most" in outcome.reason


def test_a_rank_that_hangs_is_named_before_the_time_limit(workspace: Workspace) -> None:
    outcome = fail(workspace, "hang", minutes=24 / 60)
    assert isinstance(outcome, Failed) and outcome.failure == FailureReason.ERROR
    assert outcome.reason == "rank 1 hangs: the others waited 6 s for it"


@pytest.mark.parametrize("kind", ["ddp:2", "pp:2"])
def test_a_complete_trial_of_several_processes(workspace: Workspace, kind: str) -> None:
    job = workspace.job(parallelism=kind, dropout="model")
    outcome = run(workspace.executor, job, evaluate)
    assert isinstance(outcome, Completed), outcome
    measured = outcome.result.measurements
    assert {"train_samples_per_second", "accuracy", "cost_usd", "peak_memory_gib"} <= set(measured)
    assert measured["accuracy"].n == 6
    rungs = [point.step for point in outcome.result.curve if "accuracy" in point.metrics]
    assert rungs == [3, 5]
    peaks = str(outcome.result.environment["peak_memory_gib_by_rank"]).split()
    assert len(peaks) == 2
    assert measured["peak_memory_gib"].value == pytest.approx(sum(map(float, peaks)), abs=0.01)


def test_the_ranks_of_a_trial_continue_at_their_checkpoints(
    executor: LocalExecutor, shallow: Workspace
) -> None:
    """The checkpoint of a trial that goes on is copied; another trial continues there. Each rank
    has its part of the best weights."""
    job = shallow.job(parallelism="fsdp:2", dropout=0.1, optimizer="adamw")
    job = replace(job, task=replace(job.task, evaluate_every=STEPS // 2, best_metric="loss"))
    first = replace(job, directory=str(shallow.folder / "runs/0000"))
    copied = shallow.folder / "runs/copy"

    function = distributed_jobs.train_with_checkpoints
    complete = run(executor, first, function)
    assert len(list(copied.glob("checkpoint-5-rank*.safetensors"))) == 2
    directory = str(shallow.folder / "runs/0001")
    continued = run(executor, replace(job, directory=directory, continues=(str(copied),)), function)
    assert isinstance(complete, Completed) and isinstance(continued, Completed)
    assert any(event.kind == "continued" for event in continued.result.events)
    losses = [
        {point.step: point.loss for point in outcome.result.curve if point.loss is not None}
        for outcome in (complete, continued)
    ]
    assert losses[0] == losses[1]
    scores, other_scores = (
        {p.step: p.metrics["loss"] for p in outcome.result.curve if "loss" in p.metrics}
        for outcome in (complete, continued)
    )
    assert scores == other_scores and {STEPS // 2, STEPS} <= scores.keys()
    best = complete.result.environment[BEST_STEP]
    assert best == continued.result.environment[BEST_STEP]
    assert best == min((STEPS // 2, STEPS), key=lambda step: scores[step])
    assert complete.result.measurements["loss"].value == pytest.approx(scores[best], rel=1e-5)
