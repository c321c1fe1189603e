"""The inventory of this host. Values that cannot be read are ``None``."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from autotune.domain import Device, Host, NodeClass
from autotune.domain.host import GIB
from autotune.domain.runtimes import RUNTIMES
from autotune.hardware import container
from autotune.hardware.cores import parse_cpu_list, physical_cores, usable_cores

NODES = Path("/sys/devices/system/node")
CPUINFO = Path("/proc/cpuinfo")
COMPILERS = (
    ("cc", "CC", ("cc", "gcc", "clang")),
    ("c++", "CXX", ("c++", "g++", "clang++")),
)
"""Compilers: the tool, the environment variable that names one, and usual names."""
POWERCAP = Path("/sys/class/powercap")

GPU_NODES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Device files of the drivers of NVIDIA, AMD and WSL. Without one, torch has no GPU on Linux."""

RUNTIME_PACKAGES = sorted({name for runtime in RUNTIMES.values() for name in runtime.packages})
"""Packages that build and run deployed models."""

GPU_CODE = re.compile(r"(sm|compute)_(\d+)(\d)")
"""A name of ``torch.cuda.get_arch_list()``: machine code or PTX, for a compute capability."""

USEFUL_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "bf16")
"""Instruction sets that decide which precision is fast."""

EXACT_INT8_FLAGS = ("avx_vnni", "avx512_vnni", "amx_int8")
"""Instruction sets that add products of int8 in 32 bits."""


def inventory() -> Host:
    """The hardware that this process can use. Imports torch, which takes seconds, only if there may
    be a GPU."""
    flags = cpu_flags()
    memory, cores = memory_gib(), usable_cores()
    cpu = Device("cpu", "cpu", cpu_name(), memory, bf16=any("bf16" in flag for flag in flags))
    return Host(
        cpu=cpu_name(),
        cores=cores,
        physical_cores=physical_cores(cores) or _reported_cores(cores),
        memory_gib=memory,
        numa_nodes=numa_nodes(),
        devices=(*accelerators(), cpu),
        system=f"{platform.system()} {platform.machine()}",
        libc=libc(),
        cpu_flags=flags,
        tools=tools(),
    )


def tools() -> tuple[str, ...]:
    """What levers and metrics require of a host: compilers, the headers of Python, readable energy
    counters, and packages that run deployed models."""
    names = [tool for tool, variable, programs in COMPILERS if _has_program(variable, programs)]
    if Path(sysconfig.get_path("include"), "Python.h").is_file():
        names.append("python.h")
    if any(os.access(path, os.R_OK) for path in POWERCAP.glob("intel-rapl:*/energy_uj")):
        names.append("rapl")
    if Path(GPU_NODES[0]).exists() and importlib.util.find_spec("pynvml") is not None:
        names.append("nvml")
    names += [name for name in RUNTIME_PACKAGES if importlib.util.find_spec(name) is not None]
    return tuple(names)


def _has_program(variable: str, programs: Sequence[str]) -> bool:
    """Whether one of ``programs``, or that of an environment variable, is on ``PATH``."""
    own = os.environ.get(variable, "").split()[:1]
    return any(shutil.which(program) for program in (*own, *programs))


def _reported_cores(cpus: Sequence[int]) -> int | None:
    """The physical cores that the system reports, at most as many as ``cpus``; ``None`` if it does
    not."""
    total = psutil.cpu_count(logical=False)
    return None if total is None else min(total, len(cpus))


def memory_gib() -> float:
    """Memory of the host in GiB, or of the container if that has a lower limit."""
    return round(container.total_memory_bytes() / GIB, 2)


def cpu_name() -> str | None:
    """The model name of the CPU."""
    match = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    if match:
        return match.group(1).strip()
    if platform.system() == "Darwin":
        return _sysctl("machdep.cpu.brand_string")
    return platform.processor() or None


def _sysctl(name: str) -> str | None:
    try:
        process = subprocess.run(
            ["sysctl", "-n", name], capture_output=True, text=True, check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip() or None


def cpu_flags() -> tuple[str, ...]:
    """The :data:`USEFUL_FLAGS` that the CPU has (x86 ``flags``, Arm ``Features``)."""
    present = _all_cpu_flags()
    return tuple(flag for flag in USEFUL_FLAGS if flag in present)


def int8_saturates() -> bool:
    """Whether the CPU adds pairs of int8 products in 16 bits, which saturate: x86 without VNNI or
    AMX (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html)."""
    present = _all_cpu_flags()
    return "ssse3" in present and present.isdisjoint(EXACT_INT8_FLAGS)


def _all_cpu_flags() -> set[str]:
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return set(match.group(1).split()) if match else set()


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text()
    except OSError:
        return ""


def numa_nodes() -> tuple[tuple[int, ...], ...]:
    """CPU ids by NUMA node; empty where the system does not report them."""
    allowed = set(usable_cores())
    lists = sorted(NODES.glob("node[0-9]*/cpulist"), key=lambda path: int(path.parent.name[4:]))
    nodes = (parse_cpu_list(path.read_text()) for path in lists)
    usable = (tuple(cpu for cpu in node if cpu in allowed) for node in nodes)
    return tuple(node for node in usable if node)


def libc() -> str | None:
    """Name and version of the C library, such as ``glibc 2.36``; ``None`` if unknown."""
    name, version = platform.libc_ver()
    return f"{name} {version}" if name else None


def may_have_gpu() -> bool:
    """Whether torch may find a GPU. Does not import torch."""
    return platform.system() != "Linux" or any(Path(node).exists() for node in GPU_NODES)


def accelerators() -> tuple[Device, ...]:
    """The CUDA GPUs or the Apple GPU, as torch reports them."""
    if not may_have_gpu():
        return ()
    import torch

    gpus = [_cuda(index) for index in range(torch.cuda.device_count())]
    code = torch.cuda.get_arch_list() if gpus else []
    devices = [gpu for gpu in gpus if gpu.capability is None or runs_code(gpu.capability, code)]
    if torch.backends.mps.is_available():
        devices.append(Device("mps", "mps", "Apple GPU", memory_gib(), bf16=True))
    return tuple(devices)


def runs_code(capability: tuple[int, int], code: Sequence[str]) -> bool:
    """Whether a GPU runs some of the ``code`` of torch: machine code for its major version and for
    no later minor one, or PTX for no later version, which the driver compiles. ``True`` for names
    of other kinds (ROCm). Torch itself warns of a GPU that it has no code for."""
    names = list(filter(None, map(GPU_CODE.match, code)))
    versions = [(name[1], (int(name[2]), int(name[3]))) for name in names]
    return not versions or any(
        version <= capability and (kind == "compute" or version[0] == capability[0])
        for kind, version in versions
    )


def _cuda(index: int) -> Device:
    import torch

    properties = torch.cuda.get_device_properties(index)
    try:
        free_gib = round(torch.cuda.mem_get_info(index)[0] / GIB, 2)
    except RuntimeError:  # the GPU is full, or in exclusive use
        free_gib = None
    return Device(
        id=f"cuda:{index}",
        kind="cuda",
        name=properties.name,
        memory_gib=round(properties.total_memory / GIB, 2),
        capability=(properties.major, properties.minor),
        bf16=properties.major >= 8,
        free_gib=free_gib,
    )


def merge_hosts(nodes: Sequence[tuple[str | None, Host]]) -> Host:
    """One host that represents a cluster; ``nodes`` are (class, hardware).

    It is the node with the most accelerators, then cores, then memory, with the devices of all
    nodes and all node classes.
    """
    hosts = [host for _, host in nodes]
    best = max(hosts, key=lambda host: (len(host.devices), len(host.cores), host.memory_gib))
    devices = {device.id: device for host in [*hosts, best] for device in host.devices}
    order = sorted(devices.values(), key=lambda device: (device.kind == "cpu", device.id))
    classes = {name: _node_class(name, host) for name, host in reversed(nodes) if name is not None}
    node_classes = tuple(classes[name] for name in sorted(classes))
    return replace(best, devices=tuple(order), node_classes=node_classes, num_nodes=len(nodes))


def _node_class(name: str, host: Host) -> NodeClass:
    gpus = sum(device.kind == "cuda" for device in host.devices)
    return NodeClass(name, len(host.cores), gpus)
