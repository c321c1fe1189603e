"""What only a GPU can show: kernels, compiled code, recovery from full memory, energy counters."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from data_files import rows, write_jsonl
from trial_cases import make_job

from autotune.domain import Completed, FailureReason, Infeasible, Job, Limits, Outcome
from autotune.execution.local import LocalExecutor
from autotune.hardware import inventory
from autotune.levers.numerics import UNPADDED
from autotune.measure.energy import EnergyMeter, counters
from autotune.trial import evaluate

pytestmark = pytest.mark.gpu

DEVICE = torch.device("cuda:0")
PRECISIONS = ["tf32", "bf16", "bf16-pure", "fp16"]


def final_loss(folder: Path, **values: Any) -> float:
    """The validation loss of a trial of six steps without dropout on the GPU."""
    folder.mkdir(exist_ok=True)
    strategy = {"dropout": 0.0, "learning_rate": 1e-3, **values}
    job = make_job(folder, settings={"steps": 6}, device="cuda:0", **strategy)
    outcome = evaluate(job, lambda point: None)
    assert isinstance(outcome, Completed), outcome
    return outcome.result.measurements["loss"].value


@pytest.fixture
def reference_loss(tmp_path: Path) -> float:
    return final_loss(tmp_path / "reference", precision="fp32", attention="eager")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_trains_the_model_of_fp32(
    tmp_path: Path, reference_loss: float, precision: str
) -> None:
    assert final_loss(tmp_path, precision=precision) == pytest.approx(reference_loss, abs=0.05)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fused_attention_trains_the_model_of_eager_attention(
    tmp_path: Path, reference_loss: float, precision: str
) -> None:
    loss = final_loss(tmp_path, attention="sdpa", precision=precision)
    assert loss == pytest.approx(reference_loss, abs=0.05 if precision == "bf16" else 1e-3)


@pytest.mark.parametrize("precision", ["bf16", "bf16-pure", "fp16"])
def test_unpadded_attention_trains_the_model_of_eager_attention(
    tmp_path: Path, reference_loss: float, precision: str
) -> None:
    pytest.importorskip("flash_attn")
    loss = final_loss(tmp_path, attention=UNPADDED, precision=precision)
    assert loss == pytest.approx(reference_loss, abs=0.05)


@pytest.mark.parametrize("value", [True, "cuda-graphs"])
def test_compiled_code_trains_the_model_of_eager_code(
    tmp_path: Path, reference_loss: float, value: bool | str
) -> None:
    loss = final_loss(tmp_path, compile=value, padding="fixed")
    assert loss == pytest.approx(reference_loss, abs=1e-3)


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor()
    yield executor
    executor.close()


def run(executor: LocalExecutor, *jobs: Job) -> list[Outcome]:
    """The outcomes of ``jobs``, each run in a worker of its own, in order."""
    outcomes: list[Outcome] = []
    pending = iter(jobs)
    executor.run(
        lambda: next(pending, None),
        evaluate,
        lambda _, outcome: outcomes.append(outcome),
        lambda *_: None,
    )
    return outcomes


def test_a_trial_on_a_full_gpu_is_infeasible_and_the_next_one_starts_clean(
    tmp_path: Path, executor: LocalExecutor
) -> None:
    for name in ("small", "large"):
        (tmp_path / name).mkdir()
    small = make_job(tmp_path / "small", settings={"steps": 6}, device="cuda:0")
    large = make_job(
        tmp_path / "large",
        settings={"steps": 2, "max_length": 512},
        device="cuda:0",
        batch_size=512,
        padding="fixed",
        attention="eager",
    )
    train = write_jsonl(tmp_path / "large" / "train.jsonl", rows(512))
    dataset = {**large.task.dataset, "train": str(train)}
    large = replace(large, task=replace(large.task, dataset=dataset))
    (first,) = run(executor, small)
    other = torch.empty(
        torch.cuda.mem_get_info(DEVICE)[0] - 2 * 2**30, dtype=torch.uint8, device=DEVICE
    )
    (failed,) = run(executor, replace(large, trial=1))
    del other
    torch.cuda.empty_cache()
    (second,) = run(executor, replace(small, trial=2))
    assert isinstance(failed, Infeasible) and failed.failure == FailureReason.OUT_OF_MEMORY
    assert isinstance(first, Completed) and isinstance(second, Completed)
    peaks = [o.result.measurements["device_memory_gib"].value for o in (first, second)]
    assert peaks[1] == pytest.approx(peaks[0], rel=0.05)


def test_a_gpu_without_memory_for_a_context_is_out_of_memory(
    tmp_path: Path, executor: LocalExecutor
) -> None:
    job = make_job(tmp_path, settings={"steps": 2}, device="cuda:0")
    other = torch.empty(
        torch.cuda.mem_get_info(DEVICE)[0] - 2**26, dtype=torch.uint8, device=DEVICE
    )
    (outcome,) = run(executor, job)
    del other
    torch.cuda.empty_cache()
    assert isinstance(outcome, Infeasible) and outcome.failure == FailureReason.OUT_OF_MEMORY


def test_the_memory_limit_of_a_job_is_that_of_the_host(
    tmp_path: Path, executor: LocalExecutor
) -> None:
    job = make_job(tmp_path, settings={"steps": 2}, device="cuda:0")
    (outcome,) = run(executor, replace(job, limits=Limits(memory_gib=0.05)))
    assert isinstance(outcome, Infeasible) and outcome.failure == FailureReason.OUT_OF_MEMORY


def test_reserved_memory_is_at_least_the_allocated_memory(tmp_path: Path) -> None:
    outcome = evaluate(
        make_job(tmp_path, settings={"steps": 6}, device="cuda:0"), lambda point: None
    )
    values = {name: m.value for name, m in outcome.result.measurements.items()}
    assert values["device_memory_reserved_gib"] >= values["device_memory_gib"] > 0


def test_the_energy_counter_agrees_with_the_integral_of_the_power() -> None:
    nvml = pytest.importorskip("pynvml")
    meter = EnergyMeter(counters([DEVICE], packages=False))
    if meter.wh is None:
        pytest.skip("this GPU has no energy counter")
    nvml.nvmlInit()
    uuid = f"GPU-{torch.cuda.get_device_properties(DEVICE).uuid}"
    handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
    joules, ended = 0.0, threading.Event()

    def integrate() -> None:
        nonlocal joules
        before = time.monotonic()
        while not ended.wait(0.02):
            now = time.monotonic()
            joules += nvml.nvmlDeviceGetPowerUsage(handle) / 1e3 * (now - before)
            before = now

    sampler = threading.Thread(target=integrate)
    block = torch.randn(8192, 8192, device=DEVICE)
    with meter.running():
        sampler.start()
        for _ in range(100):
            block @ block
        torch.cuda.synchronize(DEVICE)
        time.sleep(1.0)
        ended.set()
        sampler.join()
    assert meter.wh * 3600 == pytest.approx(joules, rel=0.25)


def test_free_memory_of_a_shared_gpu_is_in_the_inventory() -> None:
    block = torch.empty(2**30, dtype=torch.uint8, device=DEVICE)
    device = next(d for d in inventory().devices if d.id == "cuda:0")
    assert device.memory_gib is not None and device.free_gib is not None
    assert device.free_gib <= device.memory_gib - 1
    del block
