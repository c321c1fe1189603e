"""Levers ``node_class`` and ``nodes``: candidates, forbidden combinations, prices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.domain import Categorical, Host, NodeClass, Prices, Strategy, Value, expression
from autotune.hardware import merge_hosts
from autotune.levers import LEVERS, defaults, forbidden_clauses, hourly_usd
from tests.spec.hosts import CPU, GPU

NODE_CLASS = LEVERS["node_class"]


@pytest.fixture
def cluster() -> Host:
    host = merge_hosts([("cpu-small", CPU), ("gpu-a10", GPU), ("cpu-small", CPU), (None, CPU)])
    return replace(host, node_classes=(NodeClass("cpu-small", 2), NodeClass("gpu-a10", 8, 2)))


def test_a_merged_host_is_the_largest_node_with_all_classes() -> None:
    host = merge_hosts([("b", CPU), ("a", GPU), (None, CPU)])
    assert host.cores == GPU.cores
    assert [node.name for node in host.node_classes] == ["a", "b"]
    assert host.node_classes[0].gpus == sum(d.kind == "cuda" for d in GPU.devices)


def test_the_classes_of_the_cluster_are_candidates(cluster: Host) -> None:
    assert NODE_CLASS.candidates(cluster) == Categorical(("cpu-small", "gpu-a10"))
    assert NODE_CLASS.default_on(cluster) == "cpu-small"
    assert NODE_CLASS.candidates(CPU) == Categorical(("any",))
    assert NODE_CLASS.unavailable(CPU, "gpu-a10") is not None


@pytest.mark.parametrize(
    ("settings", "excluded"),
    [
        ({"node_class": "cpu-small", "device": "cpu", "threads": 2}, False),
        ({"node_class": "cpu-small", "device": "cpu", "threads": 4}, True),
        ({"node_class": "cpu-small", "device": "cuda:0", "threads": 1}, True),
        ({"node_class": "gpu-a10", "device": "cuda:0", "threads": 4}, False),
    ],
)
def test_settings_are_limited_to_the_node_class(
    cluster: Host, settings: dict[str, Value], excluded: bool
) -> None:
    values = {**defaults(cluster), **settings}
    clauses = [c for c in forbidden_clauses(cluster) if "node_class" in c.excludes]
    holds = [expression.parse(c.excludes, values.keys()).holds(values) for c in clauses]
    assert any(holds) == excluded


def test_trials_can_use_several_nodes() -> None:
    several = replace(CPU, num_nodes=4)
    assert LEVERS["nodes"].candidates(several) == Categorical((1, 2, 4))
    assert LEVERS["nodes"].candidates(CPU) == Categorical((1,))
    assert LEVERS["nodes"].unavailable(CPU, 2) == "needs 2 nodes; there is 1"
    assert LEVERS["parallelism"].unavailable(CPU, "ddp:4") is not None
    assert LEVERS["parallelism"].unavailable(several, "ddp:4") is None
    for nodes, excluded in ((1, True), (2, False), (3, True), (4, False)):
        values = {**defaults(several), "parallelism": "ddp:4", "nodes": nodes, "threads": 1}
        holds = [
            expression.parse(c.excludes, values.keys()).holds(values)
            for c in forbidden_clauses(several)
        ]
        assert any(holds) == excluded, nodes


def test_a_share_of_a_node_is_priced_by_the_larger_of_cores_and_gpus(cluster: Host) -> None:
    prices = Prices(cpu_core=0.05, nodes={"gpu-a10": 1.6})
    on_gpu = {**defaults(cluster), "node_class": "gpu-a10", "device": "cuda:0", "threads": 2}
    assert hourly_usd(Strategy(on_gpu), cluster, prices) == pytest.approx(0.8), "one GPU of two"
    on_cpu = {**on_gpu, "device": "cpu", "threads": 6}
    assert hourly_usd(Strategy(on_cpu), cluster, prices) == pytest.approx(1.2), "six of 8 cores"
    unpriced = {**on_cpu, "node_class": "cpu-small", "threads": 2}
    assert hourly_usd(Strategy(unpriced), cluster, prices) == pytest.approx(0.1)
