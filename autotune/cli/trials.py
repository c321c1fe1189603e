"""One trial or many as text: the commands ``trials`` and ``show``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from autotune.analysis.attribution import METHOD_NOTE, Attribution, path_table
from autotune.analysis.intervals import figure_interval
from autotune.analysis.paired_text import describe_pairs
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import (
    UNCLEAR_CAPTION,
    format_estimate,
    format_interval,
    format_metric,
    format_ratio_to_default,
    format_setting,
    metric_label,
)
from autotune.analysis.timeline import prediction_checks
from autotune.cli.layout import Column, Listing, Row
from autotune.cli.output import STATE_STYLES, label_with_unit, non_default_settings, unit_heading
from autotune.domain import CurvePoint, State, Study, Trial, TrialOrigin
from autotune.domain.metrics import get_metric

SHARED = "°"
SHARED_CAPTION = f"{SHARED} put together from phases that several trials ran"
INTERVAL_CAPTION = "as measured in one run, ± half the 95% interval within it where it has one"
MAX_CURVE_ROWS = 8
PROFILE_METRICS = ("train_samples_per_second", "peak_memory_gib")
"""Metrics of a profile phase that the learning curve shows; the others are measurements."""


def trial_listing(snapshot: Snapshot, trials: Sequence[Trial]) -> Listing:
    """A row for each of ``trials``, with its settings, the verdict and the reason why it ended."""
    study = snapshot.study
    metrics = [get_metric(name) for name in study.reported_metrics]
    figures = [Column(metric.label, unit_heading(metric)) for metric in metrics]
    columns = [Column("trial"), Column("state", left=True), *figures, Column("time", "s")]
    rows = []
    for trial in trials:
        values = [_objective(trial, metric.name) for metric in metrics]
        seconds = "" if trial.seconds is None else f"{trial.seconds:.1f}"
        details: list[str | Text] = [non_default_settings(study, trial)]
        details.append(Text(snapshot.verdict_texts[trial.number], "dim"))
        if trial.reason:
            details.append(Text(trial.reason, "dim"))
        if (note := snapshot.sharing_note(trial)) is not None:
            details.append(Text(f"{SHARED} {note}", "dim"))
        state = Text(trial.state.value, STATE_STYLES[trial.state])
        rows.append(Row([str(trial.number), state, *values, seconds], details))
    details_heading = f"settings that differ from {study.baseline_name}; verdict; end reason"
    is_any_shared = any(snapshot.recommender.sources(trial) for trial in trials)
    caption = f"{INTERVAL_CAPTION}\n{SHARED_CAPTION}" if is_any_shared else INTERVAL_CAPTION
    return Listing(columns, rows, details=details_heading, caption=caption)


def _objective(trial: Trial, metric: str) -> str:
    """What the trial measured, with half the 95% interval within its run."""
    value = trial.metric(metric)
    if value is None:
        return ""
    return format_estimate(metric, value, figure_interval(trial, metric).ci95)


def trial_details(snapshot: Snapshot, trial: Trial) -> Group:
    """All that the store has of one trial, except raw samples."""
    heading = Text(f"{snapshot.study.name}, trial {trial.number}: ", style="bold")
    heading.append(trial.state.value, style=STATE_STYLES[trial.state])
    if trial.state is State.COMPLETE:
        heading.append(f", {snapshot.verdict_texts[trial.number]}")
    blocks: list[RenderableType | None] = [heading]
    if trial.reason:
        blocks.append(Text(trial.reason))
    blocks.append(_continuation(snapshot, trial))
    if (confirmed := snapshot.confirmed_trial(trial)) is not None:
        seed = f"seed {trial.seed}, evaluated on the test split"
        blocks.append(Text(f"Confirms trial {confirmed.number}: {seed}"))
    if trial.state is State.COMPLETE and trial.is_result:
        blocks.append(Text(f"Result: {snapshot.describe(trial)}."))
    blocks += [_strategy(snapshot.study, trial), _measurements(trial, snapshot.baseline)]
    blocks.append(_path(snapshot.attribution(trial)))
    blocks += [_predictions(trial), _confirmations(snapshot, trial), _curve(trial)]
    for event in trial.result.events:
        blocks.append(Text(f"{event.time:%H:%M:%S} {event.kind}: {event.message}", style="dim"))
    if trial.result.log:
        blocks.append(Text(f"log: {trial.result.log}"))
    return Group(*[block for block in blocks if block is not None])


def _continuation(snapshot: Snapshot, trial: Trial) -> Text | None:
    """Which trial continues this one after it was paused, or where this one continues another."""
    runs = [
        run
        for run in snapshot.trials
        if run.strategy.key == trial.strategy.key and run.seed == trial.seed
    ]
    if trial.origin is TrialOrigin.CONTINUED:
        restarts = [event for event in trial.result.events if event.kind == "continued"]
        if restarts:
            return Text(f"Continued {restarts[0].message}")
        paused = [run for run in runs if run.number < trial.number and run.state is State.PRUNED]
        return Text(f"Continues trial {paused[-1].number}, which was paused") if paused else None
    later = [run for run in runs if run.origin is TrialOrigin.CONTINUED]
    if trial.state is not State.PRUNED or not later:
        return None
    return Text(f"Continued by trial {later[-1].number}")


def _strategy(study: Study, trial: Trial) -> Listing:
    columns = [Column(name, left=True) for name in ("lever", "setting", "default")]
    rows = []
    for lever, value in trial.strategy.values.items():
        default = study.baseline.values.get(lever)
        style = "bold" if value != default else "dim"
        rows.append(Row([lever, format_setting(value), format_setting(default)], style=style))
    return Listing(columns, rows, title="Strategy")


def _measurements(trial: Trial, default: Trial | None) -> Listing | None:
    if not trial.result.measurements:
        return None
    rows = []
    for name, measurement in trial.result.measurements.items():
        source = measurement.source
        cells = [
            label_with_unit(name),
            format_metric(name, measurement.value, unit=False),
            _interval(trial, name),
            str(measurement.n),
            format_ratio_to_default(name, trial, default) or "",
        ]
        rows.append(Row(cells, [] if source is None else [f"reused from trial {source}"]))
    heads = ("value", "95% interval", "n", "ratio")
    columns = [Column("metric", left=True), *map(Column, heads)]
    caption = (
        "ratio: value divided by that of the default; speeds and times relative to the reference "
        f"workload; {UNCLEAR_CAPTION}"
    )
    return Listing(columns, rows, title="Measurements", details="source", caption=caption)


def _interval(trial: Trial, name: str) -> str:
    return format_interval(name, figure_interval(trial, name).ci95) or "unknown"


def _confirmations(snapshot: Snapshot, trial: Trial) -> Listing | None:
    """The runs that repeat a trial with other seeds, and the mean of those that confirm it."""
    confirmations = snapshot.replicates.confirmations(trial)
    runs = (*snapshot.replicates.validation_runs(trial), *confirmations)
    if not runs:
        return None
    metrics = snapshot.study.reported_metrics
    labels = [Column(get_metric(metric).label) for metric in metrics]
    columns = [Column("trial"), Column("seed"), Column("split", left=True), *labels]
    rows = []
    for run in (trial, *runs):
        split = "test" if run.is_confirmation else "validation"
        values = [_objective(run, metric) for metric in metrics]
        rows.append(Row([str(run.number), str(run.seed), split, *values]))
    title = "Full training runs repeated with other seeds"
    if not confirmations:
        return Listing(columns, rows, title=title)
    replicates = snapshot.replicates
    joint = [replicates.test_estimate(trial, m) or replicates.estimate(trial, m) for m in metrics]
    means = ["" if e is None else format_metric(m, e.value, unit=False)
             for m, e in zip(metrics, joint, strict=True)]  # fmt: skip
    ends = [
        "" if e is None else format_interval(m, e.ci95) for m, e in zip(metrics, joint, strict=True)
    ]
    rows.append(Row(["mean", "", "test", *means], style="bold"))
    rows.append(Row(["95%", "", "", *ends], style="bold"))
    phrases = describe_pairs(snapshot.pairs, trial, snapshot.baseline, metrics)
    caption = f"Runs against those of the default: {', '.join(phrases)}" if phrases else ""
    return Listing(columns, rows, title=title, caption=caption)


def _path(attribution: Attribution | None) -> Listing | None:
    """Where the gain of a trial comes from: the contribution of each lever to each objective."""
    if attribution is None:
        return None
    (first, *others), (*steps, total) = path_table(attribution)
    rows = [*map(Row, steps), Row(total, style="bold")]
    columns = [Column(first, left=True), *map(Column, others)]
    return Listing(columns, rows, title="Where the gain comes from", caption=METHOD_NOTE)


def _predictions(trial: Trial) -> Listing | None:
    """What the search predicted before the trial started, against what was measured."""
    checks = prediction_checks(trial)
    if not checks:
        return None
    rows = []
    for check in checks:
        ends = [_predicted(check.metric, end) for end in check.interval or ()]
        name = "time of the trial" if check.metric == "seconds" else metric_label(check.metric)
        measured = check.measured
        cells = [
            name,
            _predicted(check.metric, check.predicted),
            " to ".join(ends),
            "" if measured is None else _predicted(check.metric, measured),
            f"{check.predicted / measured - 1:+.0%}" if measured else "",
        ]
        rows.append(Row(cells))
    heads = ("predicted", "90% interval", "measured", "error")
    columns = [Column("metric", left=True), *map(Column, heads)]
    return Listing(columns, rows, title="Predicted and measured")


def _predicted(name: str, value: float) -> str:
    return f"{value:.1f} s" if name == "seconds" else format_metric(name, value)


def _curve(trial: Trial) -> Listing | None:
    points = trial.result.curve
    if not points:
        return None
    rows = []
    every = max(1, len(points) // MAX_CURVE_ROWS)
    for index, point in enumerate(points):
        if index % every and not point.metrics and index < len(points) - 1:
            continue
        loss = "" if point.loss is None else f"{point.loss:.4f}"
        step = f"{point.step}/{point.total_steps}"
        scores = _scores(point)
        cells = [step, str(point.samples), f"{point.seconds:.1f}", loss]
        rows.append(Row(cells, [scores] if scores else []))
    columns = [Column("step"), Column("samples"), Column("seconds"), Column("loss")]
    return Listing(columns, rows, title="Learning curve", details="evaluated")


def _scores(point: CurvePoint) -> str:
    profile = {name: point.metrics[name] for name in PROFILE_METRICS if name in point.metrics}
    values = (profile or point.metrics).items()
    return ", ".join(f"{metric_label(name)} {format_metric(name, value)}" for name, value in values)
