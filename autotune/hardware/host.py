"""The inventory of this host, as far as it can be read. What cannot be read is ``None``."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from autotune.domain import Device, Host, NodeClass
from autotune.domain.units import GIB

CGROUP = Path("/sys/fs/cgroup")
NODES = Path("/sys/devices/system/node")
CPUINFO = Path("/proc/cpuinfo")
POWERCAP = Path("/sys/class/powercap")

GPU_NODES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Device files of NVIDIA's, AMD's and WSL's drivers: without one, Linux has no GPU for torch."""

USEFUL_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "bf16")
"""Instruction sets that decide which precision pays."""


def inventory() -> Host:
    """This host as this process may use it. Imports torch (seconds) only to look at a GPU."""
    flags = cpu_flags()
    memory = memory_gib()
    cpu = Device("cpu", "cpu", cpu_name(), memory, bf16=any("bf16" in flag for flag in flags))
    return Host(
        cpu=cpu_name(),
        cores=usable_cores(),
        physical_cores=psutil.cpu_count(logical=False),
        memory_gib=memory,
        numa_nodes=numa_nodes(),
        devices=(*accelerators(), cpu),
        system=f"{platform.system()} {platform.machine()}",
        libc=libc(),
        cpu_flags=flags,
        tools=tools(),
    )


def tools() -> tuple[str, ...]:
    """What levers and metrics may need: a C++ compiler, and energy counters that can be read."""
    found = ["c++"] if any(shutil.which(name) for name in ("c++", "g++", "clang++")) else []
    if any(os.access(path, os.R_OK) for path in POWERCAP.glob("intel-rapl:*/energy_uj")):
        found.append("rapl")
    if Path(GPU_NODES[0]).exists() and importlib.util.find_spec("pynvml") is not None:
        found.append("nvml")
    return tuple(found)


def usable_cores() -> tuple[int, ...]:
    """Ids of the logical CPUs this process may use, cut to a container's CPU quota."""
    if hasattr(os, "sched_getaffinity"):
        ids = sorted(os.sched_getaffinity(0))
    else:
        ids = list(range(psutil.cpu_count() or 1))
    quota = _cpu_quota()
    return tuple(ids if quota is None else ids[: max(1, int(quota))])


def _cpu_quota() -> float | None:
    """CPUs that cgroup v2 grants, ``None`` where it sets no bound."""
    try:
        allowed, period = (CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if allowed == "max" else int(allowed) / int(period)


def memory_gib() -> float:
    """Host memory, or the container's share of it, in GiB."""
    total, limit = float(psutil.virtual_memory().total), cgroup_bytes("memory.max")
    return round((total if limit is None else min(total, limit)) / GIB, 2)


def cgroup_bytes(name: str) -> float | None:
    """A limit or counter of this container (cgroup v2); ``None`` where there is none."""
    try:
        text = (CGROUP / name).read_text().strip()
    except OSError:
        return None
    return float(text) if text.isdigit() else None


def cpu_name() -> str | None:
    """The CPU's model name."""
    found = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    if found:
        return found.group(1).strip()
    if platform.system() == "Darwin":
        return _sysctl("machdep.cpu.brand_string")
    return platform.processor() or None


def _sysctl(name: str) -> str | None:
    try:
        done = subprocess.run(
            ["sysctl", "-n", name], capture_output=True, text=True, check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def cpu_flags() -> tuple[str, ...]:
    """Those of :data:`USEFUL_FLAGS` that the CPU has (x86 ``flags``, Arm ``Features``)."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    present = set(found.group(1).split()) if found else set()
    return tuple(flag for flag in USEFUL_FLAGS if flag in present)


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text()
    except OSError:
        return ""


def numa_nodes() -> tuple[tuple[int, ...], ...]:
    """CPU ids by NUMA node; empty where the system does not tell."""
    allowed = set(usable_cores())
    lists = sorted(NODES.glob("node[0-9]*/cpulist"), key=lambda path: int(path.parent.name[4:]))
    nodes = (expand(path.read_text()) for path in lists)
    mine = (tuple(cpu for cpu in node if cpu in allowed) for node in nodes)
    return tuple(node for node in mine if node)


def expand(cpu_list: str) -> tuple[int, ...]:
    """``0-2,8`` -> ``(0, 1, 2, 8)``: Linux's notation of CPU sets."""
    ids: list[int] = []
    for part in filter(None, cpu_list.strip().split(",")):
        first, _, last = part.partition("-")
        ids.extend(range(int(first), int(last or first) + 1))
    return tuple(ids)


def libc() -> str | None:
    """``glibc 2.36`` or the like; ``None`` where there is none to name."""
    name, version = platform.libc_ver()
    return f"{name} {version}" if name else None


def may_have_gpu() -> bool:
    """Whether it is worth asking torch. Costs nothing."""
    return platform.system() != "Linux" or any(Path(node).exists() for node in GPU_NODES)


def accelerators() -> tuple[Device, ...]:
    """CUDA GPUs and Apple's GPU, as torch sees them."""
    if not may_have_gpu():
        return ()
    import torch

    found = [_cuda(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append(Device("mps", "mps", "Apple GPU", memory_gib(), bf16=True))
    return tuple(found)


def _cuda(index: int) -> Device:
    import torch

    properties = torch.cuda.get_device_properties(index)
    return Device(
        id=f"cuda:{index}",
        kind="cuda",
        name=properties.name,
        memory_gib=round(properties.total_memory / GIB, 2),
        capability=(properties.major, properties.minor),
        bf16=properties.major >= 8,
    )


def merge_hosts(nodes: Sequence[tuple[str | None, Host]]) -> Host:
    """The machine with most accelerators, then cores, then memory, with the devices of all and the
    classes of node there are; ``nodes`` are (class, hardware)."""
    hosts = [host for _, host in nodes]
    best = max(hosts, key=lambda host: (len(host.devices), len(host.cores), host.memory_gib))
    devices = {device.id: device for host in [*hosts, best] for device in host.devices}
    order = sorted(devices.values(), key=lambda device: (device.kind == "cpu", device.id))
    classes = {name: _class(name, host) for name, host in reversed(nodes) if name is not None}
    named = tuple(classes[name] for name in sorted(classes))
    return replace(best, devices=tuple(order), node_classes=named, num_nodes=len(nodes))


def _class(name: str, host: Host) -> NodeClass:
    gpus = sum(device.kind == "cuda" for device in host.devices)
    return NodeClass(name, len(host.cores), gpus)
