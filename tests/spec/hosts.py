"""Three hosts on which tests resolve studies."""

from __future__ import annotations

from autotune.domain import Device, Host

CPU = Host(
    cpu="EPYC",
    cores=(0, 1),
    physical_cores=2,
    memory_gib=15.0,
    devices=(Device("cpu", "cpu", bf16=True),),
    system="Linux",
    libc="glibc 2.39",
    tools=("c++", "python.h"),
)

GPU = Host(
    cpu="Xeon",
    cores=tuple(range(16)),
    physical_cores=8,
    memory_gib=128.0,
    devices=(
        Device("cpu", "cpu", bf16=True),
        Device("cuda:0", "cuda", "NVIDIA H200", 140.0, (9, 0), True),
    ),
    system="Linux",
    libc="glibc 2.39",
    tools=("c++", "cc", "python.h", "nvml"),
)

MAC = Host(
    cpu="Apple M3",
    cores=tuple(range(8)),
    physical_cores=8,
    memory_gib=24.0,
    devices=(Device("cpu", "cpu"), Device("mps", "mps", "Apple M3")),
    system="Darwin",
)
