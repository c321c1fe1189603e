"""Classes of nodes: offered where there are any, held to what they have, paid by the part held."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.domain import Categorical, Host, NodeClass, Prices, Strategy, Value, expression
from autotune.hardware import merge_hosts
from autotune.levers import LEVERS, defaults, hourly_usd, rules
from tests.spec.hosts import CPU, GPU

NODE_CLASS = LEVERS["node_class"]


@pytest.fixture
def cluster() -> Host:
    found = merge_hosts([("cpu-small", CPU), ("gpu-a10", GPU), ("cpu-small", CPU), (None, CPU)])
    return replace(found, node_classes=(NodeClass("cpu-small", 2), NodeClass("gpu-a10", 8, 2)))


def test_a_cluster_is_its_roomiest_node_with_its_classes() -> None:
    found = merge_hosts([("b", CPU), ("a", GPU), (None, CPU)])
    assert found.cores == GPU.cores
    assert [kind.name for kind in found.node_classes] == ["a", "b"]
    assert found.node_classes[0].gpus == sum(d.kind == "cuda" for d in GPU.devices)


def test_classes_are_offered_where_there_are_any(cluster: Host) -> None:
    assert NODE_CLASS.candidates(cluster) == Categorical(("cpu-small", "gpu-a10"))
    assert NODE_CLASS.default_on(cluster) == "cpu-small"
    assert NODE_CLASS.candidates(CPU) == Categorical(("any",))
    assert NODE_CLASS.unavailable(CPU, "gpu-a10") is not None


@pytest.mark.parametrize(
    ("setting", "excluded"),
    [
        ({"node_class": "cpu-small", "device": "cpu", "threads": 2}, False),
        ({"node_class": "cpu-small", "device": "cpu", "threads": 4}, True),
        ({"node_class": "cpu-small", "device": "cuda:0", "threads": 1}, True),
        ({"node_class": "gpu-a10", "device": "cuda:0", "threads": 4}, False),
    ],
)
def test_no_more_than_a_class_has(cluster: Host, setting: dict[str, Value], excluded: bool) -> None:
    values = {**defaults(cluster), **setting}
    found = [rule for rule in rules(cluster) if "node_class" in rule.excludes]
    holds = [expression.parse(rule.excludes, values.keys()).holds(values) for rule in found]
    assert any(holds) == excluded


def test_trials_may_be_spread_over_machines() -> None:
    several = replace(CPU, num_nodes=4)
    assert LEVERS["nodes"].candidates(several) == Categorical((1, 2, 4))
    assert LEVERS["nodes"].candidates(CPU) == Categorical((1,))
    assert LEVERS["nodes"].unavailable(CPU, 2) == "2 machines are asked for, and there is 1"
    assert LEVERS["parallelism"].unavailable(CPU, "ddp:4") is not None
    assert LEVERS["parallelism"].unavailable(several, "ddp:4") is None
    for nodes, excluded in ((1, True), (2, False), (3, True), (4, False)):
        values = {**defaults(several), "parallelism": "ddp:4", "nodes": nodes, "threads": 1}
        holds = [
            expression.parse(rule.excludes, values.keys()).holds(values) for rule in rules(several)
        ]
        assert any(holds) == excluded, nodes


def test_a_part_of_a_node_is_paid_by_what_is_more(cluster: Host) -> None:
    prices = Prices(cpu_core=0.05, nodes={"gpu-a10": 1.6})
    on_gpu = {**defaults(cluster), "node_class": "gpu-a10", "device": "cuda:0", "threads": 2}
    assert hourly_usd(Strategy(on_gpu), cluster, prices) == pytest.approx(0.8), "one GPU of two"
    on_cpu = {**on_gpu, "device": "cpu", "threads": 6}
    assert hourly_usd(Strategy(on_cpu), cluster, prices) == pytest.approx(1.2), "six of 8 cores"
    unpriced = {**on_cpu, "node_class": "cpu-small", "threads": 2}
    assert hourly_usd(Strategy(unpriced), cluster, prices) == pytest.approx(0.1)
