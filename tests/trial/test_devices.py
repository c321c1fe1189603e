"""Models over several devices, optimizer states in host memory, prefetched batches."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import batches, logits, tiny_model
from trial_cases import make_collator, make_job, make_plan, make_split, make_state, make_strategy

from autotune.domain import Completed
from autotune.errors import Unsupported
from autotune.levers import required_resources
from autotune.trial import devices, evaluate
from autotune.trial.distributed import collectives
from autotune.trial.distributed.pipeline import balance_stages
from autotune.trial.effects import device_map, optimizers
from autotune.trial.effects.device_map import CPU, dispatch_model, split_proportionally
from autotune.trial.effects.precision import Precision
from autotune.trial.encoder import encoder_of
from autotune.trial.plan import TrainingPlan
from autotune.trial.training import train_step

META = torch.device("meta")


def lengths(shares: list[range]) -> list[int]:
    return [len(share) for share in shares]


def test_layers_are_split_in_proportion() -> None:
    assert lengths(split_proportionally([1.0] * 12, [3.0, 1.0])) == [9, 3]
    assert lengths(split_proportionally([1.0] * 6, [100.0, 1.0])) == [6, 0]
    assert lengths(split_proportionally([4.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0])) == [1, 4]


def test_stages_are_balanced() -> None:
    assert lengths(balance_stages([0.0, 1, 1, 1, 1, 0.0], 2)) == [2, 2]
    assert lengths(balance_stages([2.0, 1, 1, 1, 1, 0.0], 2)) == [1, 3]
    assert lengths(balance_stages([0.0, 1, 1, 5, 1, 1, 0.0], 3)) == [2, 1, 2]
    with pytest.raises(Unsupported, match="2 layers cannot make 3 stages"):
        balance_stages([0.0, 1, 1, 0.0], 3)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra", "roberta"])
@pytest.mark.parametrize("placement", ["split:time", "split:memory", "embeddings-on-cpu"])
def test_a_dispatched_model_returns_the_same_logits(kind: str, placement: str) -> None:
    model = tiny_model(kind, layers=4)
    before = logits(model)
    dispatch_model(model, placement, [CPU, CPU])
    assert torch.equal(logits(model), before)
    model(**batches(1)[0]).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_embeddings_on_cpu_moves_only_the_embeddings() -> None:
    model = tiny_model(layers=4)
    dispatch_model(model, "embeddings-on-cpu", [META, CPU])
    encoder = encoder_of(model)
    assert {p.device for p in encoder.embeddings[0].parameters()} == {CPU}
    assert {p.device for p in encoder.module_list.parameters()} == {META}


@pytest.mark.parametrize("name", ["adamw", "adamw-fused", "sgd", "adafactor"])
def test_a_step_in_host_memory_equals_a_step_on_the_device(name: str) -> None:
    weights = []
    for offload in ("none", "optimizer"):
        state = make_state(optimizer=name)
        strategy = make_strategy(optimizer=name, offload=offload)
        optimizer = optimizers.build_for_strategy(strategy, state.model)
        state = replace(state, optimizer=optimizer)
        batch = make_collator(make_split())(np.arange(4))
        for _ in range(4):
            train_step(state, [batch], 1e-3)
        weights.append(dict(state.model.named_parameters()))
    for (key, weight), offloaded in zip(weights[0].items(), weights[1].values(), strict=True):
        assert key.endswith("key.bias") or torch.allclose(weight, offloaded, atol=1e-5), key


@pytest.mark.parametrize("workers", [1, 3])
def test_loader_threads_return_the_same_batches_in_the_same_order(workers: int) -> None:
    plan = make_plan(make_collator(make_split()), 9, batch=6, micro=2)
    threaded: TrainingPlan = replace(plan, loader_workers=workers, prefetch=2)
    pairs = zip(plan.prefetched(), threaded.prefetched(), strict=False)
    for (rows, batches_), (threaded_rows, threaded_batches) in islice(pairs, 9):
        assert np.array_equal(rows, threaded_rows)
        for batch, threaded_batch in zip(batches_, threaded_batches, strict=True):
            assert torch.equal(batch.inputs["input_ids"], threaded_batch.inputs["input_ids"])


def test_a_strategy_occupies_its_gpus() -> None:
    def gpus(**values: object) -> tuple[str, ...]:
        return required_resources(make_strategy(device="cuda:0", **values)).devices

    assert gpus() == ("cuda:0",)
    assert gpus(parallelism="ddp:2") == ("cuda:0", "cuda:1")
    assert gpus(parallelism="ddp:2", placement="mixed") == ("cuda:0",)
    assert required_resources(make_strategy(parallelism="ddp:2 x tp:2", threads=2)).cores == 8


def test_each_rank_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def rank_device(rank: int, **values: object) -> str:
        monkeypatch.setenv("RANK", str(rank))
        strategy = make_strategy(device="cuda:1", parallelism="ddp:2", **values)
        return str(devices._rank_device(strategy))

    assert [rank_device(0), rank_device(1)] == ["cuda:1", "cuda:2"]
    assert [rank_device(rank, placement="mixed") for rank in (0, 1)] == ["cuda:1", "cpu"]


def test_a_split_model_occupies_all_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = make_strategy(device="cuda:1", placement="split:memory", split_gpus=2)
    assert required_resources(strategy).devices == ("cuda:1", "cuda:2")
    assert required_resources(strategy.with_values(placement="single")).devices == ("cuda:1",)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert list(map(str, devices.model_devices(strategy))) == ["cuda:1", "cuda:2", "cpu"]
    assert list(map(str, devices.local_devices(strategy, CPU))) == ["cuda:1", "cuda:2"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(Unsupported, match="finds no device cuda:2"):
        devices.model_devices(strategy)


def test_layers_are_dispatched_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    free_bytes = {"meta": 2.0, "cpu": 1.0}
    monkeypatch.setattr(device_map, "_free_bytes", lambda device: free_bytes[device.type])
    model = tiny_model(layers=5)
    dispatch_model(model, "split:memory", [META, META, CPU])
    layers = encoder_of(model).module_list
    assert [next(layer.parameters()).device.type for layer in layers] == [*["meta"] * 4, "cpu"]


def test_the_head_receives_its_input_on_the_main_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main_device, calls = torch.device("cpu:0"), []  # another name for the same device
    to_device = device_map._to_device

    def record(value: object, device: torch.device) -> object:
        calls.append(device)
        return to_device(value, CPU)

    monkeypatch.setattr(device_map, "_to_device", record)
    model = tiny_model(layers=2)
    dispatch_model(model, "split:memory", [main_device, CPU])
    pooler = model.base_model.pooler
    pooler.register_forward_pre_hook(lambda *_: calls.append("pooler"))
    logits(model)
    assert calls[calls.index("pooler") - 1] == main_device
    assert CPU in calls


def test_layers_are_split_by_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"meta": 4.0, "cpu": 1.0}
    monkeypatch.setattr(device_map, "_layers_per_second", lambda _, device: speeds[device.type])
    model = tiny_model(layers=5)
    dispatch_model(model, "split:time", [META, CPU])
    layers = encoder_of(model).module_list
    assert [next(layer.parameters()).device.type for layer in layers] == [*["meta"] * 4, "cpu"]


def test_parts_on_the_cpu_use_autocast_too() -> None:
    precision = Precision("bf16", torch.device("cuda:0"), autocast_cpu=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch without CUDA warns
        with precision.autocast():
            assert torch.is_autocast_enabled("cpu")
        with Precision("bf16", torch.device("cuda:0")).autocast():
            assert not torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")


def test_ranks_choose_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", *collectives.MPI_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    cuda = torch.device("cuda:0")
    assert collectives.rank_and_world_size() == (0, 1)
    assert collectives.choose_backend(CPU) == "gloo"
    assert collectives.choose_backend(cuda) == "cpu:gloo,cuda:nccl"
    assert collectives.choose_backend(cuda, mixed=True) == "gloo"
    monkeypatch.setattr(collectives.dist, "is_mpi_available", lambda: True)
    assert collectives.choose_backend(CPU) == "gloo", "mpirun did not start these ranks"
    for name, value in zip(collectives.MPI_VARIABLES, "13", strict=True):
        monkeypatch.setenv(name, value)
    assert collectives.choose_backend(CPU) == "mpi"
    assert collectives.rank_and_world_size() == (1, 3)


ON_GPU = [
    {"placement": "split:time"},
    {"placement": "split:memory"},
    {"placement": "embeddings-on-cpu", "precision": "bf16"},
    {"offload": "optimizer"},
    {"offload": "parameters"},
    {"pinned_memory": False, "loader_workers": 1},
]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("values", ON_GPU, ids=str)
def test_a_trial_on_a_gpu_and_its_host(tmp_path: Path, values: dict[str, object]) -> None:
    job = make_job(tmp_path, settings={"steps": 6}, device="cuda:0", **values)
    outcome = evaluate(job, lambda point: None)
    assert isinstance(outcome, Completed), outcome
