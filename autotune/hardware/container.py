"""What this process may use of the host: the limits of its control groups, version 1 and 2.

Control groups are nested, and each level can have a limit; the lowest binds. ``/proc/self/cgroup``
names the group of this process. In a container its ancestors may not be visible: then those that
are, up to the root of the container, count. Exported folders contain a copy, which counts cores
only: there psutil is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")
CGROUP = Path("/sys/fs/cgroup")

UNLIMITED = 2**60
"""Version 1 has no word for "no limit": it reports a huge number of bytes."""


def total_memory_bytes() -> float:
    """Memory of the host, or of the container if that is less."""
    import psutil

    return min([float(psutil.virtual_memory().total), *(limit for _, limit in _memory_limits())])


def available_memory_bytes() -> float:
    """Memory that can be allocated now: of the host, or of the container if that is less.

    The page cache counts as used in a control group, but the kernel frees its inactive part on
    demand, so that part is available.
    """
    import psutil

    host = float(psutil.virtual_memory().available)
    left = (limit - _unreclaimable_bytes(group) for group, limit in _memory_limits())
    return max(0.0, min([host, *left]))


def cpu_quota() -> float | None:
    """How many CPUs' time this process gets at most; ``None`` without a limit."""
    quotas = [quota for group in _groups("cpu") if (quota := _cpu_quota(group)) is not None]
    return min(quotas, default=None)


def _memory_limits() -> Iterator[tuple[Path, float]]:
    for group in _groups("memory"):
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        if limit is not None and limit < UNLIMITED:
            yield group, limit


def _unreclaimable_bytes(group: Path) -> float:
    used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes") or 0.0
    counters = dict(line.split(" ", 1) for line in _text(group / "memory.stat").splitlines())
    # Of version 1, `total_` includes the nested groups, as both counters of version 2 do.
    cache = counters.get("total_inactive_file") or counters.get("inactive_file") or "0"
    return max(0.0, used - float(cache))


def _cpu_quota(group: Path) -> float | None:
    allowed, _, period = _text(group / "cpu.max").partition(" ")
    if not period:
        allowed = _text(group / "cpu.cfs_quota_us")
        period = _text(group / "cpu.cfs_period_us")
    if not allowed.isdigit() or not period.isdigit() or int(period) == 0:
        return None  # no limit: "max" in version 2, -1 in version 1
    return int(allowed) / int(period)


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the groups of this process for ``controller``, innermost first."""
    for line in _text(GROUPS).splitlines() or ["0::/"]:
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names and controller not in names.split(","):
            continue
        roots = {CGROUP / names, CGROUP / controller} if names else {CGROUP, CGROUP / "unified"}
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for root in roots:
            for depth in range(len(parts), -1, -1):
                folder = root.joinpath(*parts[:depth])
                if folder.is_dir():
                    yield folder


def _number(path: Path) -> float | None:
    text = _text(path)
    return float(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
