"""Models over several devices, states in host memory, batches ahead of time."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_cases import collator, job, plan, ready, split, strategy
from tiny_encoders import batches, logits, tiny_model

from autotune.domain import Completed
from autotune.errors import Unsupported
from autotune.levers import resources
from autotune.trial import entry, training
from autotune.trial.distributed import collectives
from autotune.trial.distributed.pipeline import balanced
from autotune.trial.effects import device_map, devices, optimizers
from autotune.trial.effects.device_map import CPU, dispatch_model, proportional
from autotune.trial.effects.precision import Precision
from autotune.trial.encoder import encoder_of

META = torch.device("meta")


def lengths(shares: list[range]) -> list[int]:
    return [len(share) for share in shares]


def test_layers_are_dealt_out_in_proportion() -> None:
    assert lengths(proportional([1.0] * 12, [3.0, 1.0])) == [9, 3]
    assert lengths(proportional([1.0] * 6, [100.0, 1.0])) == [6, 0]
    assert lengths(proportional([4.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0])) == [1, 4]


def test_stages_are_as_quick_as_the_slowest_allows() -> None:
    assert lengths(balanced([0.0, 1, 1, 1, 1, 0.0], 2)) == [2, 2]
    assert lengths(balanced([2.0, 1, 1, 1, 1, 0.0], 2)) == [1, 3]
    assert lengths(balanced([0.0, 1, 1, 5, 1, 1, 0.0], 3)) == [2, 1, 2]
    with pytest.raises(Unsupported, match="2 layers cannot make 3 stages"):
        balanced([0.0, 1, 1, 0.0], 3)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra", "roberta"])
@pytest.mark.parametrize("where", ["split:time", "split:memory", "embeddings-on-cpu"])
def test_a_model_over_devices_answers_as_before(kind: str, where: str) -> None:
    model = tiny_model(kind, layers=4)
    before = logits(model)
    dispatch_model(model, where, [CPU, CPU])
    assert torch.equal(logits(model), before)
    model(**batches(1)[0]).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_each_part_is_where_it_should_be() -> None:
    model = tiny_model(layers=4)
    dispatch_model(model, "embeddings-on-cpu", [META, CPU])
    encoder = encoder_of(model)
    assert {p.device for p in encoder.embeddings[0].parameters()} == {CPU}
    assert {p.device for p in encoder.holder.parameters()} == {META}


@pytest.mark.parametrize("name", ["adamw", "adamw-fused", "sgd", "adafactor"])
def test_a_step_in_host_memory_is_the_same_step(name: str) -> None:
    weights = []
    for offload in ("none", "optimizer"):
        state = ready(optimizer=name)
        asked = strategy(optimizer=name, offload=offload)
        optimizer = optimizers.for_strategy(asked, state.model, 1e-3)
        state = training.TrainState(
            state.model, state.model, optimizer, state.precision, 1e-3, None, CPU
        )
        batch = collator(split())(np.arange(4))
        for _ in range(4):
            training.step(state, [batch], 1e-3)
        weights.append(dict(state.model.named_parameters()))
    for (key, here), there in zip(weights[0].items(), weights[1].values(), strict=True):
        assert key.endswith("key.bias") or torch.allclose(here, there, atol=1e-5), key


@pytest.mark.parametrize("workers", [1, 3])
def test_loader_threads_bring_the_same_batches_in_the_same_order(workers: int) -> None:
    usual = plan(collator(split()), 9, batch=6, micro=2)
    ahead = training_plan(usual, workers)
    for (rows, parts), (its_rows, its_parts) in islice(
        zip(usual.prefetched(), ahead.prefetched(), strict=False), 9
    ):
        assert np.array_equal(rows, its_rows)
        for part, its_part in zip(parts, its_parts, strict=True):
            assert torch.equal(part.inputs["input_ids"], its_part.inputs["input_ids"])


def training_plan(usual: training.TrainingPlan, workers: int) -> training.TrainingPlan:
    return replace(usual, loader_workers=workers, prefetch=2)


def test_gpus_and_cpu_are_held_as_a_strategy_says() -> None:
    def held(**values: object) -> tuple[str, ...]:
        return resources(strategy(device="cuda:0", **values)).devices

    assert held() == ("cuda:0",)
    assert held(parallelism="ddp:2") == ("cuda:0", "cuda:1")
    assert held(parallelism="ddp:2", placement="mixed") == ("cuda:0",)
    assert resources(strategy(parallelism="ddp:2 x tp:2", threads=2)).cores == 8


def test_ranks_have_devices_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_rank(rank: int, **values: object) -> str:
        monkeypatch.setenv("RANK", str(rank))
        return str(devices._own_device(strategy(device="cuda:1", parallelism="ddp:2", **values)))

    assert [of_rank(0), of_rank(1)] == ["cuda:1", "cuda:2"]
    assert [of_rank(r, placement="mixed") for r in (0, 1)] == ["cuda:1", "cpu"]


def test_a_split_holds_all_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    split = strategy(device="cuda:1", placement="split:memory", split_gpus=2)
    assert resources(split).devices == ("cuda:1", "cuda:2")
    assert resources(split.with_values(placement="single")).devices == ("cuda:1",)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert list(map(str, devices.places(split))) == ["cuda:1", "cuda:2", "cpu"]
    assert list(map(str, devices.local_devices(split, CPU))) == ["cuda:1", "cuda:2"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(Unsupported, match="finds no device cuda:2"):
        devices.places(split)


def test_layers_are_spread_over_several_devices_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"meta": 2.0, "cpu": 1.0}
    monkeypatch.setattr(device_map, "_free_bytes", lambda device: free[device.type])
    model = tiny_model(layers=5)
    dispatch_model(model, "split:memory", [META, META, CPU])
    holder = encoder_of(model).holder
    assert [next(layer.parameters()).device.type for layer in holder] == [*["meta"] * 4, "cpu"]


def test_what_follows_the_layers_has_its_input_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home, way = torch.device("cpu:0"), []  # another name for the same device
    moved = device_map._on
    monkeypatch.setattr(device_map, "_on", lambda v, device: (way.append(device), moved(v, CPU))[1])
    model = tiny_model(layers=2)
    dispatch_model(model, "split:memory", [home, CPU])
    pooler = model.base_model.pooler
    pooler.register_forward_pre_hook(lambda *_: way.append("pooler"))
    logits(model)
    assert way[way.index("pooler") - 1] == home
    assert CPU in way


def test_layers_go_where_they_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"meta": 4.0, "cpu": 1.0}
    monkeypatch.setattr(device_map, "_layer_speed", lambda encoder, device: speeds[device.type])
    model = tiny_model(layers=5)
    dispatch_model(model, "split:time", [META, CPU])
    holder = encoder_of(model).holder
    assert [next(layer.parameters()).device.type for layer in holder] == [*["meta"] * 4, "cpu"]


def test_parts_on_the_cpu_cast_as_those_on_the_gpu_do() -> None:
    precision = Precision("bf16", torch.device("cuda:0"), on_host_too=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch without CUDA says so
        with precision.autocast():
            assert torch.is_autocast_enabled("cpu")
        with Precision("bf16", torch.device("cuda:0")).autocast():
            assert not torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")


def test_what_ranks_talk_by(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", *collectives.MPI):
        monkeypatch.delenv(name, raising=False)
    cuda = torch.device("cuda:0")
    assert collectives.place() == (0, 1)
    assert collectives.backend(CPU) == "gloo"
    assert collectives.backend(cuda) == "cpu:gloo,cuda:nccl"
    assert collectives.backend(cuda, mixed=True) == "gloo"
    monkeypatch.setattr(collectives.dist, "is_mpi_available", lambda: True)
    assert collectives.backend(CPU) == "gloo", "these ranks are not mpirun's"
    for name, value in zip(collectives.MPI, "13", strict=True):
        monkeypatch.setenv(name, value)
    assert collectives.backend(CPU) == "mpi"
    assert collectives.place() == (1, 3)


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
    asked = job(tmp_path, settings={"steps": 6}, device="cuda:0", **values)
    outcome = entry.evaluate(asked, lambda point: None)
    assert isinstance(outcome, Completed), outcome
