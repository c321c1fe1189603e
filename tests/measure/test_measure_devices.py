"""Measurements of the machine: drift reference, memory, energy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from autotune.measure import memory
from autotune.measure.drift import ReferenceWorkload
from autotune.measure.energy import EnergyCounter, EnergyMeter, counters

CPU = torch.device("cpu")


def test_reference_runs_on_one_thread_and_restores_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    reference = ReferenceWorkload(CPU)
    monkeypatch.setattr(reference, "_loss", lambda tensors: _watched(reference, seen, tensors))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        reference.measure(2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}
    assert len(reference.seconds) == 2 and len(reference.warmup) == 1


def _watched(
    reference: ReferenceWorkload, seen: list[int], tensors: list[torch.Tensor]
) -> torch.Tensor:
    seen.append(torch.get_num_threads())
    return ReferenceWorkload._loss(reference, tensors)


def test_reference_warms_up_once_and_has_constant_work() -> None:
    first, second = ReferenceWorkload(CPU), ReferenceWorkload(CPU)
    assert all(map(torch.equal, first._tensors, second._tensors))
    first.measure()
    first.measure()
    assert len(first.warmup) == 1 and len(first.seconds) == 2


def test_reference_keeps_the_random_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ReferenceWorkload(CPU).measure()
    assert torch.equal(torch.rand(3), expected)


def test_peak_memory_includes_freed_memory_and_can_be_reset() -> None:
    script = (
        "from autotune.measure import memory\n"
        "memory.reset_peak(); low = memory.peak_gib()\n"
        "block = bytearray(256 * 2**20); del block\n"
        "high = memory.peak_gib(); memory.reset_peak()\n"
        "print(high - low, memory.peak_gib() - low)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    grown, after = map(float, run.stdout.split())
    assert grown == pytest.approx(0.25, abs=0.05)
    assert after < 0.1


def test_peak_memory_is_none_where_the_kernel_does_not_report_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "_peak_bytes", lambda pid: None)
    assert memory.peak_gib() is None


def test_peak_memory_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    """``ru_maxrss`` is in bytes there."""
    monkeypatch.setattr(memory, "_peak_bytes", lambda pid: None)
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    usage = SimpleNamespace(ru_maxrss=3 * 1024**3)
    monkeypatch.setattr(memory.resource, "getrusage", lambda who: usage)
    monkeypatch.setattr(memory.psutil.Process, "children", lambda self, recursive: [self])
    found = memory.peak_gib()
    assert found is not None and 3.0 < found < 6.0


def test_model_size_counts_shared_weights_once() -> None:
    layer = torch.nn.Linear(512, 512, bias=False)
    assert memory.model_mib(torch.nn.Sequential(layer, layer)) == pytest.approx(1.0)
    assert memory.model_mib(layer.to(torch.bfloat16)) == pytest.approx(0.5)


def test_no_gpu_peaks_on_a_cpu() -> None:
    assert memory.device_peaks_gib(CPU) is None


def _zone(folder: Path, name: str, microjoules: int) -> Path:
    folder.mkdir()
    (folder / "name").write_text(name)
    (folder / "max_energy_range_uj").write_text("5000000")
    (folder / "energy_uj").write_text(str(microjoules))
    return folder


def test_rapl_packages_are_summed_and_wrap_around(tmp_path: Path) -> None:
    first = _zone(tmp_path / "intel-rapl:0", "package-0", 1_000_000)
    second = _zone(tmp_path / "intel-rapl:1", "package-1", 4_000_000)
    _zone(tmp_path / "intel-rapl:0:0", "core", 7)
    meter = EnergyMeter(counters([CPU], tmp_path))
    with meter.running():
        (first / "energy_uj").write_text("2500000")
        (second / "energy_uj").write_text("1000000")  # started over at 5 J
    assert meter.wh == pytest.approx((1.5 + 2.0) / 3600)


def test_no_counter_gives_no_measurement(tmp_path: Path) -> None:
    assert EnergyMeter(counters([CPU], tmp_path)).wh is None


def test_only_one_process_counts_the_packages(tmp_path: Path) -> None:
    _zone(tmp_path / "intel-rapl:0", "package-0", 1_000_000)
    assert counters([CPU], tmp_path, packages=False) == []


class FakeNvml(ModuleType):
    """Two GPUs whose counters are at 7 and 9 J."""

    NVMLError = RuntimeError

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        return {"GPU-a": 7000, "GPU-b": 9000}[handle]


def test_energy_of_all_gpus_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("pynvml"))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda d: SimpleNamespace(uuid="ab"[d.index])
    )
    gpus = [torch.device("cuda:0"), torch.device("cuda:1"), CPU]
    assert [c.read() for c in counters(gpus, tmp_path)] == [7.0, 9.0]


def test_memory_of_all_gpus_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"is_available": True, "is_initialized": True, "device_count": 2}.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda gpu: (gpu + 1) * memory.GIB)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda gpu: (gpu + 2) * memory.GIB)
    assert memory.device_peaks_gib(torch.device("cuda:1")) == (3.0, 5.0)


def test_memory_of_blocks_that_do_not_count_is_left_out_on_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peak = [2.0]
    for name, value in {"is_available": True, "is_initialized": True, "device_count": 1}.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    for name in ("max_memory_allocated", "max_memory_reserved"):
        monkeypatch.setattr(torch.cuda, name, lambda gpu: peak[0] * memory.GIB)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda gpu: peak.__setitem__(0, 1.0))
    memory.reset_peak()
    peak[0] = 2.0
    with memory.excluded_from_peak():
        peak[0] = 5.0
    assert memory.device_peaks_gib(torch.device("cuda:0")) == (2.0, 2.0)
    peak[0] = 3.0
    assert memory.device_peaks_gib(torch.device("cuda:0")) == (3.0, 3.0)
    memory.reset_peak()
    assert memory.device_peaks_gib(torch.device("cuda:0")) == (1.0, 1.0)
    memory._earlier_device_peaks.clear()


def test_energy_outside_the_meter_does_not_count() -> None:
    readings = iter([10.0, 11.0, 50.0, 52.0])
    meter = EnergyMeter([EnergyCounter("fake", lambda: next(readings))])
    with meter.running():
        pass
    with meter.running():
        pass
    assert meter.wh == pytest.approx(3 / 3600)


@pytest.mark.gpu
def test_reference_and_peaks_on_cuda() -> None:
    device = torch.device("cuda:0")
    reference = ReferenceWorkload(device)
    reference.measure(3)
    assert min(reference.seconds) > 0
    memory.reset_peak()
    block = torch.ones(2**26, device=device)
    del block
    peaks = memory.device_peaks_gib(device)
    assert peaks is not None and peaks[0] >= 0.25 and peaks[1] >= peaks[0]
