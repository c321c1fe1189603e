"""The section of a report on evaluations during training (``task.evaluate_every``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import plotly.graph_objects as go

from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import format_metric, metric_label
from autotune.domain import BEST_STEP, CurvePoint, Trial
from autotune.report.axes import Axis
from autotune.report.blocks import Block, Figure, Heading, Paragraph
from autotune.report.figures import apply_theme
from autotune.report.style import SERIES, SYMBOLS

Curves = Mapping[int, Sequence[CurvePoint]]
"""Learning curves by number of the trial."""

EXPLANATION = (
    "Scores on the validation split after seconds of training, without the time of the "
    "evaluations. Large marks are the best evaluations, whose weights count."
)


def evaluation_section(snapshot: Snapshot, curves: Curves) -> Iterator[Block]:
    """The score of the default and of each recommended trial over its training time."""
    metric = snapshot.study.task.best_metric
    if snapshot.study.task.evaluate_every is None or metric is None:
        return
    recommended = [r.trial for r in snapshot.recommendations.values()]
    default = [] if snapshot.baseline is None else [snapshot.baseline]
    trials = {trial.number: trial for trial in [*default, *recommended]}
    evaluated = [t for t in trials.values() if BEST_STEP in t.result.environment and
                 _evaluations(curves, t, metric)]  # fmt: skip
    if not evaluated:
        return
    label = metric_label(metric)
    yield Heading(f"{label[0].upper()}{label[1:]} over time")
    yield Paragraph(EXPLANATION)
    bests = [_describe_best(trial, curves, metric) for trial in evaluated]
    yield Figure(
        evaluation_figure(evaluated, curves, metric), f"{label} over time: {'; '.join(bests)}."
    )


def evaluation_figure(trials: Sequence[Trial], curves: Curves, metric: str) -> go.Figure:
    """A line for each trial, with its best evaluation marked."""
    figure, axis = go.Figure(), Axis(metric)
    for index, trial in enumerate(trials):
        points, best = _evaluations(curves, trial, metric), trial.result.environment[BEST_STEP]
        figure.add_scatter(
            x=[point.seconds for point in points],
            y=[point.metrics[metric] for point in points],
            mode="lines+markers",
            name=f"trial {trial.number}",
            line={"color": SERIES[index % len(SERIES)]},
            marker={
                "symbol": SYMBOLS[index % len(SYMBOLS)],
                "size": [13 if point.step == best else 6 for point in points],
            },
        )
    figure.update_xaxes(title="seconds of training", rangemode="tozero")
    figure.update_yaxes(axis.layout())
    return apply_theme(figure, static=True)


def _evaluations(curves: Curves, trial: Trial, metric: str) -> list[CurvePoint]:
    return [point for point in curves.get(trial.number, ()) if metric in point.metrics]


def _describe_best(trial: Trial, curves: Curves, metric: str) -> str:
    points, step = _evaluations(curves, trial, metric), trial.result.environment[BEST_STEP]
    values = {point.step: point for point in points}
    if step not in values:
        return f"trial {trial.number}, best after step {step}"
    best = values[step]
    score = format_metric(metric, best.metrics[metric])
    return f"trial {trial.number}, {score} after {best.seconds:.1f} s (step {step})"
