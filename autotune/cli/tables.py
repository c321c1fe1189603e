"""Studies, checks, differences and hardware as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autotune.analysis.text import (
    format_interval,
    format_metric,
    format_ratio,
    format_setting,
)
from autotune.cli.layout import INDENT, Column, Listing, Row
from autotune.cli.output import label_with_unit
from autotune.domain import Categorical, Host, Range
from autotune.domain.metrics import get_metric
from autotune.export.verify import Check
from autotune.levers import LEVERS, Lever
from autotune.levers.base import Pattern
from autotune.report.diff import Difference
from autotune.spec import Explanation
from autotune.spec.domains import all_values


def study_listing(records: Sequence[Mapping[str, Any]]) -> Listing | Text:
    """A row a study record, as ``autotune studies`` prints them."""
    if not records:
        return Text("No studies yet. Start one: autotune search bert")
    rows = []
    for record in records:
        counts = {state: n for state, n in record["trials"].items() if n}
        states = ", ".join(f"{n} {state}" for state, n in counts.items()) or "none"
        state = record["state"] or ""
        started = (record["started_at"] or "")[:16].replace("T", " ")
        dataset = record["dataset"]
        is_name = isinstance(dataset, str)
        data = dataset if is_name else dataset.get("hub") or dataset.get("train", "")
        rows.append(Row([Text(record["study"], "bold"), str(record["model"]), data, started, state],
                        [states]))  # fmt: skip
    columns = [Column(name, left=True) for name in ("study", "model", "data", "started", "state")]
    return Listing(columns, rows, details="trials")


def status_lines(record: Mapping[str, Any]) -> Group:
    """A status record as ``autotune status`` prints it."""
    counts = ", ".join(f"{n} {state}" for state, n in record["trials"].items() if n)
    lines = [Text(record["study"], style="bold"), Text(f"trials: {counts or 'none'}")]
    if record["state"] is not None:
        reason = f" ({record['reason']})" if record["reason"] else ""
        lines.append(Text(f"search: {record['state']}{reason}"))
    for name, use in record["budget"].items():
        limit = f" of {use['limit']:g}" if use["limit"] is not None else ""
        lines.append(Text(f"{name}: {use['used']:.4g}{limit}"))
    for entry in record["best"]:
        metric = entry["metric"]
        value = format_metric(metric, entry["value"])
        interval = format_interval(metric, tuple(entry["ci95"]))
        label = get_metric(metric).label
        source = [f"trial {entry['trial']}", *filter(None, [entry.get("status")])]
        lines.append(Text(f"best {label}: {value} ({interval}), {', '.join(source)}"))
    if record["recommendation"] is not None:
        lines.append(Text(record["recommendation"]))
    if record["hypervolume"] is not None:
        lines.append(Text(f"hypervolume: {record['hypervolume']:.4f}"))
    lines += [Text(f"running: trial {t['number']}", style="cyan") for t in record["running"]]
    return Group(*lines)


PREDICTIONS = "predictions"
"""The check of an exported model whose figure is the share of equal predictions."""


def check_listing(checks: Sequence[Check]) -> Listing:
    """A row a promised metric: what the trial measured against what the export reached."""
    rows = []
    for check in checks:
        is_share = check.metric == PREDICTIONS
        cells: list[str | Text] = [
            "equal predictions" if is_share else label_with_unit(check.metric),
            *(
                f"{value:.2%}" if is_share else format_metric(check.metric, value, unit=False)
                for value in (check.promised, check.reached)
            ),
            f"{check.ratio:.3f}" if check.promised else "",
            Text("held", "green") if check.passed else Text("FAILED", "bold red"),
        ]
        promised = format_interval(check.metric, check.promised_ci95)
        reached = format_interval(check.metric, check.reached_ci95)
        text = f"promised {promised or 'unknown'}, reached {reached or 'unknown'}"
        rows.append(Row(cells, [Text(text, "dim")] if promised or reached else []))
    columns = [
        Column("metric", left=True),
        *map(Column, ("promised", "reached", "ratio", "result")),
    ]
    return Listing(columns, rows, details="95% intervals")


def difference_listings(difference: Difference) -> Group:
    """The levers that differ, then the metrics of both sides."""
    sides = [Column(difference.first), Column(difference.second)]
    settings = [
        Row([lever, format_setting(first), format_setting(second)])
        for lever, (first, second) in difference.settings.items()
    ]
    metrics = []
    for metric in difference.figures:
        relation = {True: "apart", False: "overlap", None: ""}[metric.apart]
        cells = [
            label_with_unit(metric.metric),
            format_metric(metric.metric, metric.first, unit=False),
            format_metric(metric.metric, metric.second, unit=False),
            "" if metric.ratio is None else format_ratio(metric.ratio),
            relation,
        ]
        metrics.append(Row(cells))
    columns = [Column("metric", left=True), *sides, Column("ratio"), Column("intervals")]
    return Group(
        Listing([Column("lever", left=True), *sides], settings)
        if settings
        else Text("the same strategy", "dim"),
        Listing(columns, metrics),
        *map(Text, difference.notes),
    )


def hardware_record(host: Host) -> dict[str, Any]:
    """``autotune hardware --json``."""
    levers = {lever.name: lever_record(lever, host) for lever in LEVERS.values()}
    document = {"fingerprint": host.fingerprint, **asdict(host), "levers": levers}
    return {"machines" if key == "num_nodes" else key: value for key, value in document.items()}


def lever_record(lever: Lever, host: Host) -> dict[str, Any]:
    """What ``auto`` searches on this host, and the settings that cannot run with their reasons."""
    domain = all_values(lever, host)
    values = domain.values if isinstance(domain, Categorical) else ()
    reasons = {format_setting(value): lever.unavailable(host, value) for value in values}
    return {
        "auto": format_domain(lever.candidates(host)),
        "default": lever.default_on(host),
        "unavailable": {name: reason for name, reason in reasons.items() if reason},
        "influences": sorted(lever.influences),
    }


def format_domain(domain: Categorical | Range | Pattern) -> str:
    """The values of a domain in one line."""
    if isinstance(domain, Categorical):
        return ", ".join(format_setting(value) for value in domain.values)
    if isinstance(domain, Pattern):
        return f"such as {domain.example}"
    scale = f", step {domain.step:g}" if domain.step else ", log scale" if domain.log else ""
    return f"{domain.low:g} to {domain.high:g}{scale}"


def hardware_listings(host: Host) -> Group:
    """The facts of a host, then what each lever can be there."""
    facts = Table.grid(padding=(0, 2))
    values = {
        "CPU": host.cpu or "unknown",
        "cores": f"{len(host.cores)} usable, {host.physical_cores or 'unknown'} physical",
        "memory": f"{host.memory_gib:g} GiB",
        "NUMA nodes": str(len(host.numa_nodes) or "unknown"),
        "instructions": ", ".join(host.cpu_flags) or "none of use to a lever",
        "C library": host.libc or "unknown",
        "fingerprint": host.fingerprint,
    }
    for name, value in values.items():
        facts.add_row(Text(name, style="bold"), value)
    for device in host.devices:
        memory = f"{device.memory_gib:g} GiB" if device.memory_gib else "memory unknown"
        if device.free_gib is not None:
            memory += f", {device.free_gib:g} GiB free"
        facts.add_row(Text(device.id, style="bold"), f"{device.name or 'unknown'}, {memory}")
    rows = []
    for lever in LEVERS.values():
        record = lever_record(lever, host)
        unavailable = [Text(f"unavailable: {name}: {reason}", "dim")
                       for name, reason in record["unavailable"].items()]  # fmt: skip
        rows.append(Row([lever.name], [record["auto"], *unavailable]))
    columns = [Column("lever", left=True)]
    return Group(facts, Listing(columns, rows, title="Levers", details="auto searches here"))


def explanation_listings(explanation: Explanation, *, verbose: bool = False) -> Group:
    """What ``validate --explain`` prints: what is searched, why not more, and how long it takes.
    With ``verbose`` also the levers that the file does not name, and the forbidden combinations."""
    shown = [lever for lever in explanation.levers if lever.in_file or verbose]
    rows = []
    for lever in shown:
        when = f" (when {lever.when})" if lever.when else ""
        fixed = Text(f"{format_setting(lever.default)}, {explanation.baseline}", style="dim")
        searched = Text(", ".join(lever.searched) + when) if lever.searched else fixed
        left_out = [Text(f"left out: {value}: {reason}", "dim") for value, reason in lever.left_out]
        rows.append(Row([lever.lever], [searched, *left_out]))
    levers = Listing([Column("lever", left=True)], rows, title="Search space", details="searches")
    clauses: list[RenderableType] = []
    for rule in explanation.rules if verbose else ():
        clauses += [Text(rule.excludes), Padding(Text(rule.reason, "dim"), (0, 0, 0, INDENT))]
    if clauses:
        clauses.insert(0, Text("Forbidden combinations", "bold"))
    product = f" times the range of {', '.join(explanation.continuous)}"
    size = f"size of the search space: {explanation.combinations:,} strategies"
    lines = [Text(size + product * bool(explanation.continuous))]
    lines.append(Text(f"duration: {explanation.duration}"))
    if not verbose:
        lines.append(Text(_omissions(explanation), "dim"))
    return Group(levers, *clauses, *lines)


def _omissions(explanation: Explanation) -> str:
    """What the short form leaves out."""
    others = sum(not lever.in_file for lever in explanation.levers)
    rules = len(explanation.rules)
    forbidden = f", and {rules} rules forbid combinations" if rules else ""
    return f"{others} other levers keep their defaults{forbidden}; list all with -v"
