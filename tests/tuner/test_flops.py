"""Operations of a strategy per sample, where the time to start kernels counts."""

from __future__ import annotations

import pytest

from autotune.domain import Strategy, Value, WorkloadProfile
from autotune.hardware import inventory
from autotune.levers import defaults
from autotune.tuner.feasibility.flops import training_flops

MINILM = WorkloadProfile(
    embedding_parameters=11_918_592, layer_parameters=1_774_464, head_parameters=149_765,
    layers=6, hidden=384, heads=12, intermediate_size=1536, labels=2, label_per_token=False,
    dropout=True, train_samples=3000, validation_samples=1000, max_length=64, median=25, p95=45,
    longest=64, idle_gib=0.4,
)  # fmt: skip


def seconds(**settings: Value) -> float:
    """What is proportional to the expected time of a sample."""
    strategy = Strategy({**defaults(inventory()), "padding": "fixed", **settings})
    return training_flops(MINILM, strategy)


def test_on_a_cpu_the_batch_size_changes_no_operations() -> None:
    assert seconds(device="cpu", batch_size=8) == seconds(device="cpu", batch_size=64)


def test_on_a_gpu_small_batches_wait_for_the_cpu() -> None:
    speedup = seconds(device="cuda:0", batch_size=8) / seconds(device="cuda:0", batch_size=64)
    assert 5 < speedup < 8


def test_recorded_graphs_wait_less() -> None:
    eager = seconds(device="cuda:0", batch_size=8)
    assert seconds(device="cuda:0", batch_size=8, compile="cuda-graphs") < eager / 3


@pytest.mark.parametrize("frozen", [2, 4])
def test_frozen_layers_start_fewer_kernels(frozen: int) -> None:
    assert seconds(device="cuda:0", freeze_layers=frozen) < seconds(device="cuda:0")
