"""Operations of a strategy per sample, where the time to start kernels counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.domain import Strategy, Value
from autotune.hardware import inventory
from autotune.levers import defaults
from autotune.tuner.feasibility.flops import training_flops
from tests.tuner.feasible_world import MINILM


def seconds(**settings: Value) -> float:
    """What is proportional to the expected time of a sample."""
    strategy = Strategy({**defaults(inventory()), "padding": "fixed", **settings})
    return training_flops(replace(MINILM, max_length=64), strategy)


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
