"""The inventory of a host."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.hardware import environment, inventory
from autotune.hardware.cores import parse_cpu_list, usable_cores
from autotune.hardware.host import (
    cpu_flags,
    cpu_name,
    int8_saturates,
    memory_gib,
    numa_nodes,
    runs_code,
    tools,
)

MODULE = "autotune.hardware.host"


def test_this_host_has_a_cpu() -> None:
    host = inventory()
    assert host.device("cpu") is not None
    assert len(host.cores) >= 1
    assert host.memory_gib > 0
    assert host.devices[-1].id == "cpu", "accelerators come before the CPU"


def test_fingerprint_is_stable_and_distinguishes_machines() -> None:

    host = inventory()
    assert inventory().fingerprint == host.fingerprint
    assert replace(host, cores=(*host.cores, 999)).fingerprint != host.fingerprint


@pytest.mark.parametrize(("text", "ids"), [("0-2,8", (0, 1, 2, 8)), ("3", (3,)), ("\n", ())])
def test_cpu_lists(text: str, ids: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == ids


@given(st.sets(st.integers(0, 255), min_size=1))
def test_cpu_lists_round_trip(ids: set[int]) -> None:
    assert set(parse_cpu_list(",".join(map(str, sorted(ids))))) == ids


def test_container_quota_limits_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000")
    (tmp_path / "memory.max").write_text(str(3 * 2**30))
    monkeypatch.setattr("autotune.hardware.container.CGROUP", tmp_path)
    assert len(usable_cores()) == 1
    assert memory_gib() == pytest.approx(3.0)


def test_no_quota_is_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("max 100000")
    monkeypatch.setattr("autotune.hardware.container.CGROUP", tmp_path)
    assert len(usable_cores()) == len(os.sched_getaffinity(0))


def test_flags_of_x86_and_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(f"{MODULE}.CPUINFO", info)
    info.write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 amx_bf16\n")
    assert cpu_flags() == ("avx2", "amx_bf16")
    assert cpu_name() == "Some CPU"
    info.write_text("Features\t: fp asimd bf16\n")
    assert cpu_flags() == ("bf16",)


@pytest.mark.parametrize(
    ("line", "saturates"),
    [
        ("flags\t: ssse3 avx2", True),
        ("flags\t: ssse3 avx2 avx_vnni", False),
        ("flags\t: ssse3 avx2 avx512_vnni amx_int8", False),
        ("Features\t: asimd asimddp", False),
        ("", False),
    ],
)
def test_sums_of_int8_saturate_on_x86_without_vnni(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, saturates: bool
) -> None:
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(f"{MODULE}.CPUINFO", info)
    info.write_text(line)
    assert int8_saturates() == saturates


@pytest.mark.parametrize(
    ("capability", "code", "runs"),
    [
        ((8, 0), ["sm_75", "sm_80", "sm_90"], True),
        ((8, 6), ["sm_75", "sm_80", "sm_90"], True),
        ((7, 0), ["sm_75", "sm_80", "sm_90"], False),
        ((12, 0), ["sm_80", "sm_90a"], False),
        ((12, 0), ["sm_80", "sm_90", "compute_90"], True),
        ((12, 1), ["sm_120"], True),
        ((9, 0), ["gfx90a", "gfx942"], True),
        ((9, 0), [], True),
    ],
)
def test_gpus_need_code_that_they_run(
    capability: tuple[int, int], code: list[str], runs: bool
) -> None:
    assert runs_code(capability, code) is runs


def test_unreadable_values_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULE}.CPUINFO", tmp_path / "missing")
    monkeypatch.setattr(f"{MODULE}.NODES", tmp_path / "missing")
    assert cpu_flags() == ()
    assert numa_nodes() == ()


def test_environment_has_versions_and_fingerprint() -> None:
    host = inventory()
    found = environment(host)
    assert found["fingerprint"] == host.fingerprint
    assert {"torch", "transformers", "optuna"} <= set(found["packages"])


def test_energy_counters_are_tools_where_they_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{MODULE}.POWERCAP", tmp_path)
    assert "rapl" not in tools()
    (tmp_path / "intel-rapl:0").mkdir()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("5")
    assert "rapl" in tools()
