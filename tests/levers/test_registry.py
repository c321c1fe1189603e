"""What holds of every lever."""

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
from autotune.levers import (
    LEVERS,
    RULES,
    Influence,
    Lever,
    defaults,
    hourly_usd,
    profile_key,
    resources,
    rules,
)
from tests.spec.hosts import CPU, GPU, MAC

EVERY = pytest.mark.parametrize("lever", LEVERS.values(), ids=list(LEVERS))
HOSTS = pytest.mark.parametrize("host", [CPU, GPU, MAC], ids=["cpu", "gpu", "mac"])


@EVERY
@HOSTS
def test_the_default_is_legal_and_runs(lever: Lever, host: Host) -> None:
    value = lever.default_on(host)
    assert lever.is_legal(value)
    assert lever.unavailable(host, value) is None


@EVERY
@HOSTS
def test_auto_offers_only_what_is_legal_and_runs(lever: Lever, host: Host) -> None:
    offered = lever.candidates(host)
    values = settings(offered)
    assert isinstance(offered, Categorical) <= bool(values)
    for value in values or ():
        assert lever.is_legal(value)
        assert lever.unavailable(host, value) is None


@EVERY
def test_conditions_look_back_only(lever: Lever) -> None:
    if lever.when is None:
        return
    before = list(LEVERS)[: list(LEVERS).index(lever.name)]
    assert expression.parse(lever.when, LEVERS.keys()).names <= set(before)


@EVERY
def test_each_lever_says_what_it_is_and_changes(lever: Lever) -> None:
    assert lever.influences
    assert lever.describe()
    assert 10 < len(lever.summary) < 100
    assert not lever.summary.endswith(".")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.excludes)
@HOSTS
def test_rules_can_be_read_and_spare_the_default(rule: ForbiddenClause, host: Host) -> None:
    values = defaults(host)
    assert not expression.parse(rule.excludes, values.keys()).holds(values)
    assert rule.reason


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"micro_batch_size": 8, "batch_size": 8}, "no accumulation"),
        ({"micro_batch_size": 6, "batch_size": 16}, "whole number of micro-batches"),
        ({"precision": "fp16", "device": "cpu"}, "CUDA"),
        ({"compile": True, "device": "mps"}, "mps"),
        ({"loader_workers": 1, "offload": "parameters"}, "fsdp"),
    ],
)
def test_what_the_rules_exclude(values: dict[str, object], reason: str) -> None:
    setting = {**defaults(GPU), **values}
    hit = [r for r in RULES if expression.parse(r.excludes, setting.keys()).holds(setting)]  # type: ignore[arg-type]
    assert any(reason in rule.reason for rule in hit)


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


def test_the_default_is_that_of_the_trainer() -> None:
    found = defaults(GPU, epochs=3.0)
    assert (found["device"], found["threads"]) == ("cuda:0", 16)
    assert (found["batch_size"], found["learning_rate"], found["epochs"]) == (8, 5e-5, 3.0)
    assert (defaults(CPU)["device"], defaults(MAC)["device"]) == ("cpu", "mps")


def test_what_a_machine_lacks_is_named() -> None:
    bare = replace(CPU, devices=(replace(CPU.devices[0], bf16=False),), tools=(), libc="musl 1.2")
    for lever, value, word in (
        ("precision", "bf16", "bf16"),
        ("precision", "tf32", "8.0"),
        ("compile", True, "compiler"),
        ("allocator", "tuned", "musl"),
        ("threads", 3, "2 cores"),
        ("device", "mps", "found: cpu"),
    ):
        assert word in (LEVERS[lever].unavailable(bare, value) or ""), lever


def test_the_price_of_a_strategy_counts_all_that_it_holds() -> None:
    prices = Prices(0.05, {"H200": 4.0, "NVIDIA": 1.0, "T4": 0.5})
    on_gpu = Strategy({**defaults(GPU), "threads": 4})
    assert resources(on_gpu).devices == ("cuda:0",)
    assert hourly_usd(on_gpu, GPU, prices) == pytest.approx(4 * 0.05 + 1.0)
    assert hourly_usd(on_gpu, GPU, Prices(0.05, {"H200": 4.0})) == pytest.approx(4.2)
    assert hourly_usd(on_gpu, GPU, Prices(0.05)) is None
    assert hourly_usd(Strategy(defaults(CPU)), CPU, prices) == pytest.approx(0.1)
    assert hourly_usd(Strategy(defaults(CPU)), CPU, Prices()) is None


@pytest.mark.parametrize(
    ("lever", "value"),
    [("pruning_score", "magnitude"), ("dropout", 0.0)],
)
def test_what_takes_memory_is_probed_apart(lever: str, value: str | float) -> None:
    """Scores by effect on the loss take gradients, and dropout keeps what it has set to zero."""
    pruned = Strategy({**defaults(CPU), "pruning_ratio": 0.5})
    other = pruned.with_values(**{lever: value})
    assert profile_key(pruned) != profile_key(other)
    assert {Influence.SPEED, Influence.MEMORY} <= LEVERS[lever].influences


OLD_CPU = Device("cpu", "cpu", bf16=False)
OLD_GPU = Device("cuda:1", "cuda", "Tesla T4", 15.0, (7, 5), bf16=False)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"device": "cpu", "precision": "bf16"}, "cpu has no bf16"),
        ({"device": "cpu", "precision": "bf16-pure"}, "cpu has no bf16"),
        ({"device": "cuda:0", "placement": "mixed", "precision": "bf16"}, "cpu has no bf16"),
        ({"device": "cuda:0", "placement": "split:time", "precision": "bf16"}, None),
        ({"device": "cuda:1", "precision": "bf16"}, "cuda:1 has no bf16"),
        ({"device": "cuda:1", "precision": "tf32"}, "cuda:1 is no GPU of compute capability 8.0"),
        ({"device": "cuda:0", "precision": "bf16"}, None),
        ({"device": "cuda:0", "precision": "tf32"}, None),
        ({"device": "cuda:1", "precision": "fp16"}, None),
        ({"device": "cpu", "precision": "fp32"}, None),
    ],
)
def test_no_device_is_asked_for_arithmetic_that_only_another_has(
    values: dict[str, Value], named: str | None
) -> None:
    host = replace(GPU, devices=(OLD_CPU, GPU.devices[1], OLD_GPU))
    setting = {**defaults(host), "threads": 1, **values}
    reasons = [
        rule.reason
        for rule in rules(host)
        if expression.parse(rule.excludes, setting.keys()).holds(setting)
    ]
    assert [reason for reason in reasons if named and named in reason] or not (named or reasons)


@pytest.mark.parametrize("host", [CPU, GPU, MAC], ids=["cpu", "gpu", "mac"])
def test_devices_that_are_alike_want_no_rule_of_precision(host: Host) -> None:
    assert not [rule for rule in rules(host) if "arithmetic; emulated" in rule.reason]
