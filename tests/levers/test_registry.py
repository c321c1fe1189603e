"""Checks that every lever passes, and the functions of the registry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.domain import (
    Categorical,
    Device,
    ForbiddenClause,
    Host,
    Prices,
    Strategy,
    Value,
    expression,
)
from autotune.domain.search_space import settings
from autotune.domain.strategy import LATER_DEFAULTS
from autotune.levers import (
    FORBIDDEN_CLAUSES,
    LEVERS,
    Influence,
    Lever,
    defaults,
    forbidden_clauses,
    hourly_usd,
    profile_key,
    required_resources,
    serving_usd,
    training_key,
)
from autotune.levers.effects import load_effect
from tests.spec.hosts import CPU, GPU, MAC

EACH_LEVER = pytest.mark.parametrize("lever", LEVERS.values(), ids=list(LEVERS))
EACH_HOST = pytest.mark.parametrize("host", [CPU, GPU, MAC], ids=["cpu", "gpu", "mac"])


@EACH_LEVER
@EACH_HOST
def test_the_default_is_legal_and_available(lever: Lever, host: Host) -> None:
    value = lever.default_on(host)
    assert lever.is_legal(value)
    assert lever.unavailable(host, value) is None


@EACH_LEVER
@EACH_HOST
def test_auto_contains_only_legal_and_available_settings(lever: Lever, host: Host) -> None:
    domain = lever.candidates(host)
    values = settings(domain)
    assert isinstance(domain, Categorical) <= bool(values)
    for value in values or ():
        assert lever.is_legal(value)
        assert lever.unavailable(host, value) is None


@EACH_LEVER
def test_conditions_refer_to_earlier_levers(lever: Lever) -> None:
    if lever.when is None:
        return
    earlier = list(LEVERS)[: list(LEVERS).index(lever.name)]
    assert expression.parse(lever.when, LEVERS.keys()).names <= set(earlier)


@EACH_LEVER
def test_each_lever_has_a_summary_and_influences(lever: Lever) -> None:
    assert lever.influences
    assert lever.describe()
    assert 10 < len(lever.summary) < 100
    assert not lever.summary.endswith(".")


@EACH_LEVER
def test_each_effect_exists(lever: Lever) -> None:
    assert callable(load_effect(lever))


@EACH_LEVER
def test_each_lever_is_exported_somewhere(lever: Lever) -> None:
    # No format starts several nodes, and no script has a teacher.
    not_exported = {"nodes", "distillation", "distillation_temperature"}
    assert bool(lever.exports) is (lever.name not in not_exported)


@pytest.mark.parametrize("clause", FORBIDDEN_CLAUSES, ids=lambda clause: clause.excludes)
@EACH_HOST
def test_forbidden_clauses_parse_and_allow_the_default(clause: ForbiddenClause, host: Host) -> None:
    values = defaults(host)
    assert not expression.parse(clause.excludes, values.keys()).holds(values)
    assert clause.reason


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"micro_batch_size": 8, "batch_size": 8}, "no accumulation"),
        ({"micro_batch_size": 6, "batch_size": 16}, "whole number of micro-batches"),
        ({"precision": "fp16", "device": "cpu"}, "CUDA"),
        ({"compile": True, "device": "mps"}, "mps"),
        ({"loader_workers": 1, "offload": "parameters"}, "fsdp"),
        ({"compile": "cuda-graphs", "parallelism": "ddp:2"}, "recorded in one process"),
        ({"compile": "cuda-graphs", "placement": "split:time"}, "on one device"),
        ({"compile": "cuda-graphs", "offload": "parameters"}, "layer by layer have no fixed"),
        ({"distillation": 0.5, "parallelism": "ddp:2"}, "logits of the teacher"),
        ({"distillation": 0.5, "offload": "parameters"}, "do not get the logits of the teacher"),
        ({"pruning_schedule": "gradual", "freeze_layers": 1}, "keep their pretrained weights"),
        ({"pruning_schedule": "gradual", "parallelism": "ddp:2"}, "train models that differ"),
        ({"pruning_schedule": "after-warmup", "pruning_score": "magnitude"}, "sizes of weights"),
        ({"quantization_aware": True, "adapter": "lora"}, "merged after training"),
        ({"quantization_aware": True, "parallelism": "ddp:2 x tp:2"}, "parts of the model"),
    ],
)
def test_forbidden_combinations(values: dict[str, Value], reason: str) -> None:
    strategy = {**defaults(GPU), **values}
    matches = [
        clause.reason
        for clause in FORBIDDEN_CLAUSES
        if expression.parse(clause.excludes, strategy.keys()).holds(strategy)
    ]
    assert any(reason in match for match in matches)


@pytest.mark.parametrize(
    ("lever", "value", "legal"),
    [
        ("batch_size", 8, True),
        ("batch_size", 0, False),
        ("batch_size", 8.5, False),
        ("batch_size", True, False),
        ("batch_size", "8", False),
        ("micro_batch_size", "full", True),
        ("micro_batch_size", "half", False),
        ("dropout", "model", True),
        ("dropout", 0.9, True),
        ("dropout", 0.95, False),
        ("device", "cuda:12", True),
        ("device", "cuda", False),
        ("compile", True, True),
        ("compile", 1, False),
        ("precision", "fp8", False),
    ],
)
def test_legal_settings(lever: str, value: bool | int | float | str, legal: bool) -> None:
    assert LEVERS[lever].is_legal(value) is legal


def test_the_defaults_are_those_of_the_trainer() -> None:
    values = defaults(GPU, epochs=3.0)
    assert (values["device"], values["threads"]) == ("cuda:0", 8)
    assert (values["batch_size"], values["learning_rate"], values["epochs"]) == (8, 5e-5, 3.0)
    assert (defaults(CPU)["device"], defaults(MAC)["device"]) == ("cpu", "mps")


def test_unavailable_settings_name_what_the_host_lacks() -> None:
    bare = replace(CPU, devices=(replace(CPU.devices[0], bf16=False),), tools=(), libc="musl 1.2")
    for lever, value, word in (
        ("precision", "bf16", "bf16"),
        ("precision", "tf32", "8.0"),
        ("quantization", "bf16", "bf16"),
        ("compile", True, "compiler"),
        ("compile", "cuda-graphs", "CUDA GPU"),
        ("attention", "flash_attention_2", "CUDA GPU"),
        ("allocator", "tuned", "musl"),
        ("threads", 3, "2 cores"),
        ("device", "mps", "found: cpu"),
    ):
        assert word in (LEVERS[lever].unavailable(bare, value) or ""), lever
    unpadded = LEVERS["attention"].unavailable
    assert "pip install flash-attn" in (unpadded(GPU, "flash_attention_2") or "")
    assert unpadded(bare, "sdpa") is None


def test_the_price_covers_all_resources() -> None:
    prices = Prices(0.05, {"H200": 4.0, "NVIDIA": 1.0, "T4": 0.5})
    on_gpu = Strategy({**defaults(GPU), "threads": 4})
    assert required_resources(on_gpu).devices == ("cuda:0",)
    assert hourly_usd(on_gpu, GPU, prices) == pytest.approx(4 * 0.05 + 1.0)
    assert hourly_usd(on_gpu, GPU, Prices(0.05, {"H200": 4.0})) == pytest.approx(4.2)
    assert hourly_usd(on_gpu, GPU, Prices(0.05)) is None
    assert hourly_usd(Strategy(defaults(CPU)), CPU, prices) == pytest.approx(0.1)
    assert hourly_usd(Strategy(defaults(CPU)), CPU, Prices()) is None


@pytest.mark.parametrize(
    ("lever", "value"),
    [("pruning_score", "magnitude"), ("pruning_schedule", "gradual"), ("dropout", 0.0)],
)
def test_levers_that_take_memory_change_the_profile_key(lever: str, value: str | float) -> None:
    """Taylor scores compute gradients; dropout keeps its masks."""
    pruned = Strategy({**defaults(CPU), "pruning_ratio": 0.5})
    other = pruned.with_values(**{lever: value})
    assert profile_key(pruned) != profile_key(other)
    assert {Influence.SPEED, Influence.MEMORY} <= LEVERS[lever].influences


OLD_CPU = Device("cpu", "cpu", bf16=False)
OLD_GPU = Device("cuda:1", "cuda", "Tesla T4", 15.0, (7, 5), bf16=False)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"device": "cpu", "precision": "bf16"}, "cpu has no bf16"),
        ({"device": "cpu", "precision": "bf16-pure"}, "cpu has no bf16"),
        ({"device": "cuda:0", "placement": "mixed", "precision": "bf16"}, "cpu has no bf16"),
        ({"device": "cuda:0", "placement": "split:time", "precision": "bf16"}, None),
        ({"device": "cuda:1", "precision": "bf16"}, "cuda:1 has no bf16"),
        (
            {"device": "cuda:1", "precision": "tf32"},
            "cuda:1 is not a GPU of compute capability 8.0",
        ),
        ({"device": "cuda:0", "precision": "bf16"}, None),
        ({"device": "cuda:0", "precision": "tf32"}, None),
        ({"device": "cuda:1", "precision": "fp16"}, None),
        ({"device": "cpu", "precision": "fp32"}, None),
    ],
)
def test_each_device_gets_only_the_precisions_that_it_has(
    values: dict[str, Value], expected: str | None
) -> None:
    host = replace(GPU, devices=(OLD_CPU, GPU.devices[1], OLD_GPU))
    strategy = {**defaults(host), "threads": 1, **values}
    reasons = [
        clause.reason
        for clause in forbidden_clauses(host)
        if expression.parse(clause.excludes, strategy.keys()).holds(strategy)
    ]
    if expected is None:
        assert not reasons
    else:
        assert any(expected in reason for reason in reasons)


@pytest.mark.parametrize("host", [CPU, GPU, MAC], ids=["cpu", "gpu", "mac"])
def test_equal_devices_need_no_forbidden_precision(host: Host) -> None:
    reasons = [clause.reason for clause in forbidden_clauses(host)]
    assert not [reason for reason in reasons if "arithmetic; emulation" in reason]


def test_levers_that_stored_strategies_lack_have_their_default() -> None:
    for name, value in LATER_DEFAULTS.items():
        assert LEVERS[name].default == value
    stored = Strategy(defaults(CPU))
    changed = stored.with_values(weight_decay=0.1)
    assert training_key(changed) != training_key(stored)
    assert profile_key(changed) == profile_key(stored)


def test_several_gpus_share_the_cores_by_default() -> None:
    first = GPU.devices[1]
    for gpus in ((first,), (first, replace(first, id="cuda:1"))):
        host = replace(GPU, devices=(*gpus, Device("cpu", "cpu")))
        cores = host.physical_cores
        assert cores is not None
        assert LEVERS["threads"].default_on(host) == cores // len(gpus)


def test_the_price_of_serving_on_a_gpu_includes_it() -> None:
    prices = Prices(cpu_core=0.1, gpus={"H200": 3.0})
    strategy = Strategy(defaults(GPU)).with_values(device="cuda:0", inference_threads=2)
    assert serving_usd(strategy, GPU, prices) == pytest.approx(0.2)
    on_gpu = strategy.with_values(runtime="torch-cuda-graphs")
    assert serving_usd(on_gpu, GPU, prices) == pytest.approx(3.2)
    assert serving_usd(on_gpu, GPU, replace(prices, gpus={})) is None
