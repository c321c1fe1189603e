"""What a process may use: control groups of both versions, page cache, quotas, hardware threads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from autotune.deployment.runtimes.threads import count_threads
from autotune.domain import Device, Host
from autotune.domain.host import GIB
from autotune.execution.memory import available_gib, default_limit_gib
from autotune.hardware import container, cores, host
from autotune.hardware.container import available_memory_bytes, cpu_quota
from autotune.levers import defaults

V2, V1 = "0::{}\n", "4:memory:{0}\n1:cpu,cpuacct:{0}\n0::/\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file system of control groups, on a host with 64 GiB of which 48 are free."""
    memory = SimpleNamespace(total=64 * GIB, available=48 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(container, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(container, "GROUPS", tmp_path / "self")
    (tmp_path / "cgroup").mkdir()
    (tmp_path / "self").write_text(V2.format("/"))
    return tmp_path / "cgroup"


def write(folder: Path, **files: object) -> None:
    """Files of a control group; ``memory_max`` is written as ``memory.max``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{content}\n")


def cache(gib: float) -> str:
    return f"anon 1\ninactive_file {int(gib * GIB)}"


def test_field_page_cache_is_available_memory(root: Path) -> None:
    write(root, memory_max=4 * GIB, memory_current=int(3.95 * GIB), memory_stat=cache(3.9))
    assert available_gib() == pytest.approx(3.95, abs=0.001)
    assert default_limit_gib(1) > 3.5
    assert host.memory_gib() == 4.0


def test_field_memory_above_the_limit_leaves_none(root: Path) -> None:
    write(root, memory_max=4 * GIB, memory_current=5 * GIB, memory_stat=cache(0))
    assert available_gib() == 0.0


@pytest.mark.parametrize("path", ["/", "/../..", "/not/visible/here"])
def test_field_the_group_of_a_container_without_its_path(root: Path, path: str) -> None:
    (root.parent / "self").write_text(V2.format(path))
    write(root, memory_max=4 * GIB, memory_current=GIB, memory_stat=cache(0))
    write(root, cpu_max="150000 100000")
    assert available_memory_bytes() == 3 * GIB
    assert cpu_quota() == 1.5


def test_field_the_lowest_limit_of_nested_groups_binds(root: Path) -> None:
    (root.parent / "self").write_text(V2.format("/user/job/step"))
    write(root / "user", memory_max=8 * GIB, memory_current=7 * GIB, memory_stat=cache(0))
    write(root / "user/job", memory_max=4 * GIB, memory_current=GIB, cpu_max="200000 100000")
    write(root / "user/job/step", memory_max="max", memory_current=GIB, cpu_max="max 100000")
    assert available_memory_bytes() == GIB, "of the outer group 7 of 8 GiB are used"
    assert host.memory_gib() == 4.0
    assert cpu_quota() == 2.0


@pytest.mark.parametrize("group", ["/docker/abc", "/elsewhere"])
def test_field_version_1(root: Path, group: str) -> None:
    (root.parent / "self").write_text(V1.format(group))
    write(root / "memory", memory_limit_in_bytes=9223372036854771712)
    folder = root / "memory" / "docker/abc" if group == "/docker/abc" else root / "memory"
    statistics = f"inactive_file 0\ntotal_inactive_file {GIB}"
    write(
        folder, memory_limit_in_bytes=2 * GIB, memory_usage_in_bytes=2 * GIB,
        memory_stat=statistics,
    )  # fmt: skip
    write(root / "cpu,cpuacct", cpu_cfs_quota_us=-1, cpu_cfs_period_us=100000)
    assert cpu_quota() is None
    write(root / "cpu,cpuacct", cpu_cfs_quota_us=300000)
    assert available_memory_bytes() == GIB
    assert host.memory_gib() == 2.0
    assert cpu_quota() == 3.0


def test_field_without_control_groups_the_host_counts(root: Path) -> None:
    (root.parent / "self").unlink()
    assert available_memory_bytes() == 48 * GIB
    assert cpu_quota() is None


@pytest.fixture
def threads(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four physical cores with two hardware threads each: 0 and 4, 1 and 5..."""
    monkeypatch.setattr(cores, "CPUS", tmp_path / "cpus")
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for cpu in range(8):
        folder = tmp_path / "cpus" / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")


@pytest.mark.usefixtures("threads")
def test_field_one_thread_of_each_physical_core_comes_first(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cores.usable_cores() == (0, 1, 2, 3, 4, 5, 6, 7)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda pid: {0, 1, 4, 5})
    assert cores.usable_cores() == (0, 1, 4, 5)
    write(root, cpu_max="300000 100000")
    assert cores.usable_cores() == (0, 1, 4)
    inventory = host.inventory()
    assert (len(inventory.cores), inventory.physical_cores) == (3, 2)
    assert count_threads(None) == 2, "a server in this container"
    assert defaults(inventory)["threads"] == 2


def test_field_the_default_threads_are_those_of_torch() -> None:
    machine = Host("Xeon", tuple(range(16)), 8, 64.0, devices=(Device("cpu", "cpu"),))
    assert defaults(machine)["threads"] == 8
    assert defaults(replace(machine, physical_cores=None))["threads"] == 16


def test_field_free_memory_of_a_gpu_counts_and_is_no_part_of_the_fingerprint() -> None:
    gpu = Device("cuda:0", "cuda", "H100", 79.1)
    half = replace(gpu, free_gib=39.0)
    assert (gpu.usable_gib, half.usable_gib) == (79.1, 39.0)
    machine = Host("Xeon", (0,), 1, 64.0, devices=(gpu,))
    assert replace(machine, devices=(half,)).fingerprint == machine.fingerprint
