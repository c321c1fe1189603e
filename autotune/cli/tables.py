"""Studies and trials as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from autotune.analysis.front import baseline
from autotune.analysis.replicates import Replicates, confirms
from autotune.analysis.summary import format_metric, interval, times, times_default
from autotune.analysis.timeline import prediction_checks
from autotune.domain import (
    Categorical,
    Host,
    Measurement,
    Range,
    State,
    Strategy,
    Study,
    Trial,
    Value,
)
from autotune.domain.metrics import METRICS
from autotune.export.verify import Check
from autotune.levers import LEVERS, Lever
from autotune.levers.base import Pattern
from autotune.report.diff import Difference
from autotune.spec import Explanation
from autotune.spec.domains import all_values

STATE_STYLES: Mapping[State, str] = {
    State.QUEUED: "dim",
    State.RUNNING: "cyan",
    State.COMPLETE: "green",
    State.PRUNED: "yellow",
    State.INFEASIBLE: "magenta",
    State.FAILED: "red",
    State.INTERRUPTED: "dim yellow",
}
CURVE_ROWS = 8


def non_default_settings(study: Study, trial: Trial) -> str:
    """What a strategy sets otherwise than the default does."""
    different = trial.strategy.differences(study.baseline)
    words = [f"{lever}={format_value(here)}" for lever, (here, _) in different.items()]
    return " ".join(words) or "the default"


def format_value(value: Value | None) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def studies(records: Sequence[Mapping[str, Any]]) -> Table | Text:
    if not records:
        return Text("No studies yet. Start one: autotune search bert")
    table = Table("study", "model", "data", "trials", "started", pad_edge=False)
    for record in records:
        counted = {state: n for state, n in record["trials"].items() if n}
        states = ", ".join(f"{n} {state}" for state, n in counted.items()) or "none"
        started = (record["started_at"] or "")[:16].replace("T", " ")
        data = record["dataset"]
        table.add_row(
            Text(record["study"], style="bold"), Text(str(record["model"])),
            Text(data if isinstance(data, str) else str(data.get("train"))), states, started,
        )  # fmt: skip
    return table


def status(record: Mapping[str, Any]) -> Group:
    counted = ", ".join(f"{n} {state}" for state, n in record["trials"].items() if n)
    lines = [Text(record["study"], style="bold"), Text(f"trials: {counted or 'none'}")]
    for name, use in record["budget"].items():
        limit = f" of {use['limit']:g}" if use["limit"] is not None else ""
        lines.append(Text(f"{name}: {use['used']:.4g}{limit}"))
    for entry in record["best"]:
        metric = entry["metric"]
        figure = format_metric(metric, entry["value"])
        lines.append(Text(f"best {METRICS[metric].label}: {figure} (trial {entry['trial']})"))
    if record["hypervolume"] is not None:
        lines.append(Text(f"hypervolume: {record['hypervolume']:.4f}"))
    lines += [Text(f"running: trial {t['number']}", style="cyan") for t in record["running"]]
    return Group(*lines)


def trials(study: Study, found: Sequence[Trial]) -> Table:
    table = Table(pad_edge=False)
    table.add_column("trial", justify="right")
    table.add_column("state")
    for objective in study.objectives:
        table.add_column(METRICS[objective.metric].label, justify="right")
    table.add_column("time", justify="right")
    table.add_column("strategy (where it differs), or why it ended", overflow="fold")
    for trial in found:
        figures = [_value(trial, objective.metric) for objective in study.objectives]
        seconds = "" if trial.seconds is None else f"{trial.seconds:.1f} s"
        words = Text(non_default_settings(study, trial))
        if trial.reason:
            words.append(f"\n{trial.reason}", style="dim")
        state = Text(trial.state.value, style=STATE_STYLES[trial.state])
        table.add_row(str(trial.number), state, *figures, seconds, words)
    return table


def _value(trial: Trial, metric: str) -> str:
    value = trial.metric(metric)
    return "" if value is None else format_metric(metric, value)


def trial(study: Study, one: Trial, trials: Sequence[Trial]) -> Group:
    """Everything about one of ``trials`` that is read rather than plotted."""
    heading = Text(f"{study.name}, trial {one.number}: ", style="bold")
    heading.append(one.state.value, style=STATE_STYLES[one.state])
    parts: list[Any] = [heading]
    if one.reason:
        parts.append(Text(one.reason))
    if (confirmed := confirms(one, trials)) is not None:
        where = f"Confirms trial {confirmed.number}: seed {one.seed}, judged on the test split"
        parts.append(Text(where))
    default = baseline(study, trials)
    parts += [_strategy(study, one.strategy), _measurements(one, default)]
    parts += [_predictions(one), _confirming(study, one, trials), _curve(one)]
    for event in one.result.events:
        parts.append(Text(f"{event.at:%H:%M:%S} {event.kind}: {event.message}", style="dim"))
    if one.result.log:
        parts.append(Text(f"log: {one.result.log}"))
    return Group(*[part for part in parts if part is not None])


def _strategy(study: Study, strategy: Strategy) -> Table:
    table = Table("lever", "setting", "default", title="Strategy", title_justify="left")
    for lever, value in strategy.values.items():
        usual = study.baseline.values.get(lever)
        style = "bold" if value != usual else "dim"
        table.add_row(lever, format_value(value), format_value(usual), style=style)
    return table


def _measurements(one: Trial, default: Trial | None) -> Table | None:
    if not one.result.measurements:
        return None
    table = Table(title="Measurements", title_justify="left")
    for name in ("metric", "value", "95% interval", "n", "against the default", "from"):
        table.add_column(name, justify="left" if name in ("metric", "from") else "right")
    for name, measurement in one.result.measurements.items():
        table.add_row(
            METRICS[name].label if name in METRICS else name,
            format_metric(name, measurement.value),
            _interval(name, measurement),
            str(measurement.n),
            times_default(name, measurement.value, default) or "",
            "here" if measurement.source is None else f"trial {measurement.source}",
        )
    return table


def _confirming(study: Study, one: Trial, trials: Sequence[Trial]) -> Table | None:
    """The runs that confirm a trial beside it, and what they say together."""
    repeats = Replicates(trials)
    if not (again := repeats.of(one)):
        return None
    metrics = [objective.metric for objective in study.objectives]
    table = Table(title="Run again whole, with other seeds", title_justify="left")
    for name in ("trial", "seed", "judged on", *(METRICS[metric].label for metric in metrics)):
        table.add_column(name, justify="left" if name == "judged on" else "right")
    for run in (one, *again):
        split = "validation" if run is one else "test"
        figures = [_value(run, metric) for metric in metrics]
        table.add_row(str(run.number), str(run.seed), split, *figures)
    joint = [repeats.test(one, metric) or repeats.figure(one, metric) for metric in metrics]
    ends = [
        "" if f is None else f"{format_metric(metric, f.value)}\n{interval(metric, f.ci95)}"
        for metric, f in zip(metrics, joint, strict=True)
    ]
    table.add_section()
    table.add_row("mean", "", "test", *ends, style="bold")
    return table


def _predictions(one: Trial) -> Table | None:
    """What the search expected before the trial, beside what came of it."""
    found = prediction_checks(one)
    if not found:
        return None
    table = Table(title="Predicted and measured", title_justify="left")
    for name in ("what", "predicted", "90% interval", "measured", "off by"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for number in found:
        low_high = [_foretold(number.metric, end) for end in number.interval or ()]
        measured = number.measured
        table.add_row(
            METRICS[number.metric].label if number.metric in METRICS else "time of the whole trial",
            _foretold(number.metric, number.predicted),
            " to ".join(low_high),
            "" if measured is None else _foretold(number.metric, measured),
            f"{number.predicted / measured - 1:+.0%}" if measured else "",
        )
    return table


def _foretold(name: str, value: float) -> str:
    return f"{value:.1f} s" if name == "seconds" else format_metric(name, value)


def _interval(name: str, measurement: Measurement) -> str:
    if measurement.ci95 is None:
        return "not known"
    return " to ".join(format_metric(name, bound) for bound in measurement.ci95)


PROBED = ("train_samples_per_second", "peak_memory_gib")
"""What is shown of a probe; the rest stands above, as measured in the end."""


def _score(name: str, value: float) -> str:
    return f"{METRICS[name].label if name in METRICS else name} {format_metric(name, value)}"


def _curve(one: Trial) -> Table | None:
    points = one.result.curve
    if not points:
        return None
    table = Table("step", "examples", "seconds", "loss", "measured there", title="Learning curve",
                  title_justify="left")  # fmt: skip
    every = max(1, len(points) // CURVE_ROWS)
    for index, point in enumerate(points):
        if index % every and not point.metrics and index < len(points) - 1:
            continue
        loss = "" if point.loss is None else f"{point.loss:.4f}"
        probed = {n: point.metrics[n] for n in PROBED if n in point.metrics}
        scores = ", ".join(_score(n, v) for n, v in (probed or point.metrics).items())
        step = f"{point.step}/{point.total_steps}"
        table.add_row(step, str(point.samples), f"{point.seconds:.1f}", loss, scores)
    return table


def checks(found: Sequence[Check]) -> Table:
    """Promised against reached, a row a promise."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("metric", "promised", "reached", "ratio", ""):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for check in found:
        word = Text("held", "green") if check.held else Text("NOT HELD", "bold red")
        table.add_row(
            METRICS[check.metric].label,
            _figure(check.metric, check.promised, check.promised_ci95),
            _figure(check.metric, check.reached, check.reached_ci95),
            f"{check.ratio:.3f}",
            word,
        )
    return table


def _figure(metric: str, value: float, ends: tuple[float, float] | None) -> Text:
    """A value and, below it, its 95% interval."""
    text = Text(format_metric(metric, value))
    return text.append(f"\n{interval(metric, ends)}", "dim") if ends else text


def difference(found: Difference) -> Group:
    """Settings that differ, then all figures of both sides."""
    settings = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("lever", found.first, found.second):
        settings.add_column(head)
    for lever, (first, second) in found.settings.items():
        settings.add_row(lever, format_value(first), format_value(second))
    figures = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("metric", found.first, found.second, "ratio", "intervals"):
        figures.add_column(head, justify="left" if head == "metric" else "right")
    for one in found.figures:
        apart = {True: "apart", False: "overlap", None: ""}[one.apart]
        figures.add_row(
            METRICS[one.metric].label if one.metric in METRICS else one.metric,
            format_metric(one.metric, one.first),
            format_metric(one.metric, one.second),
            "" if one.ratio is None else times(one.ratio),
            apart,
        )
    none = Text("the same strategy", "dim")
    return Group(settings if found.settings else none, figures, *map(Text, found.notes))


def hardware_record(host: Host) -> dict[str, Any]:
    """``autotune hardware --json``."""
    levers = {lever.name: lever_record(lever, host) for lever in LEVERS.values()}
    return {"fingerprint": host.fingerprint, **asdict(host), "levers": levers}


def lever_record(lever: Lever, host: Host) -> dict[str, Any]:
    """What ``auto`` searches on this host, and the settings that cannot run with their reasons."""
    everything = all_values(lever, host)
    legal = everything.values if isinstance(everything, Categorical) else ()
    reasons = {format_value(value): lever.unavailable(host, value) for value in legal}
    return {
        "auto": shown_domain(lever.candidates(host)),
        "default": lever.default_on(host),
        "unavailable": {name: reason for name, reason in reasons.items() if reason},
        "influences": sorted(lever.influences),
    }


def shown_domain(domain: Categorical | Range | Pattern) -> str:
    if isinstance(domain, Categorical):
        return ", ".join(format_value(value) for value in domain.values)
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
        kept = Text(f"{format_value(lever.default)}, the default", style="dim")
        searched = Text(", ".join(lever.searched) + when) if lever.searched else kept
        table.add_row(lever.lever, searched, left_out)
    rules = Table("never together", "because", title="Rules", title_justify="left")
    for rule in explanation.rules:
        rules.add_row(rule.excludes, rule.reason)
    beside = f" times all of {', '.join(explanation.continuous)}" if explanation.continuous else ""
    size = Text(f"size of the space: {explanation.combinations:,} strategies{beside}")
    return Group(table, rules, size) if explanation.rules else Group(table, size)
