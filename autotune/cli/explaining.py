"""What this host can run, lever by lever, and why it cannot run the rest."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from autotune.cli.tables import setting
from autotune.domain import Choice, Host, Range
from autotune.levers import LEVERS, Lever
from autotune.levers.base import Pattern
from autotune.spec import Explanation
from autotune.spec.dimensions import everywhere


def hardware_record(host: Host) -> dict[str, Any]:
    """``autotune hardware --json``."""
    levers = {lever.name: lever_record(lever, host) for lever in LEVERS.values()}
    return {"fingerprint": host.fingerprint, **asdict(host), "levers": levers}


def lever_record(lever: Lever, host: Host) -> dict[str, Any]:
    """What ``auto`` searches on this host, and the settings that cannot run with their reasons."""
    everything = everywhere(lever, host)
    legal = everything.values if isinstance(everything, Choice) else ()
    reasons = {setting(value): lever.unavailable(host, value) for value in legal}
    return {
        "auto": shown_domain(lever.candidates(host)),
        "default": lever.default_on(host),
        "unavailable": {name: reason for name, reason in reasons.items() if reason},
        "influences": sorted(lever.influences),
    }


def shown_domain(domain: Choice | Range | Pattern) -> str:
    if isinstance(domain, Choice):
        return ", ".join(setting(value) for value in domain.values)
    if isinstance(domain, Pattern):
        return f"such as {domain.example}"
    how = f", step {domain.step:g}" if domain.step else ", by magnitude" if domain.log else ""
    return f"{domain.low:g} to {domain.high:g}{how}"


def hardware_tables(host: Host) -> Group:
    found = Table.grid(padding=(0, 2))
    facts = {
        "CPU": host.cpu or "unknown",
        "cores": f"{len(host.cores)} usable, {host.physical_cores or 'unknown'} physical",
        "memory": f"{host.memory_gib:g} GiB",
        "NUMA nodes": str(len(host.numa_nodes) or "unknown"),
        "instructions": ", ".join(host.cpu_flags) or "none that matter here",
        "C library": host.libc or "unknown",
        "fingerprint": host.fingerprint,
    }
    for name, fact in facts.items():
        found.add_row(Text(name, style="bold"), fact)
    for device in host.devices:
        memory = f"{device.memory_gib:g} GiB" if device.memory_gib else "memory unknown"
        found.add_row(Text(device.id, style="bold"), f"{device.name or 'unknown'}, {memory}")
    levers = Table("lever", "auto searches here", "cannot run here", title="Levers",
                   title_justify="left")  # fmt: skip
    for lever in LEVERS.values():
        record = lever_record(lever, host)
        missing = "\n".join(f"{name}: {reason}" for name, reason in record["unavailable"].items())
        levers.add_row(lever.name, record["auto"], missing)
    return Group(found, levers)


def explained(explanation: Explanation) -> Group:
    """``validate --explain`` for people."""
    table = Table("lever", "searches", "left out, and why", title="Space", title_justify="left")
    for lever in explanation.levers:
        when = f" (when {lever.when})" if lever.when else ""
        left_out = "\n".join(f"{value}: {reason}" for value, reason in lever.left_out)
        kept = Text(f"{setting(lever.default)}, the default", style="dim")
        searched = Text(", ".join(lever.searched) + when) if lever.searched else kept
        table.add_row(lever.lever, searched, left_out)
    rules = Table("never together", "because", title="Rules", title_justify="left")
    for rule in explanation.rules:
        rules.add_row(rule.excludes, rule.reason)
    beside = f" times all of {', '.join(explanation.continuous)}" if explanation.continuous else ""
    size = Text(f"size of the space: {explanation.combinations:,} strategies{beside}")
    return Group(table, rules, size) if explanation.rules else Group(table, size)
