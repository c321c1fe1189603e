"""The section of a report on evaluations during training (``task.evaluate_every``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import plotly.graph_objects as go

from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import format_metric, metric_label
from autotune.domain import CurvePoint, Study, Trial
from autotune.domain.metrics import get_metric
from autotune.domain.training import evaluation_steps
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
    recommended = [r.trial for r in snapshot.recommendations.values()]
    default = [] if snapshot.baseline is None else [snapshot.baseline]
    evaluations = evaluations_by_trial(snapshot.study, [*default, *recommended], curves)
    metric = snapshot.study.task.best_metric
    if not evaluations or metric is None:
        return
    label = metric_label(metric)
    yield Heading(f"{label[0].upper()}{label[1:]} over time")
    yield Paragraph(EXPLANATION)
    bests = [_describe_best(number, points, metric) for number, points in evaluations.items()]
    yield Figure(evaluation_figure(evaluations, metric), f"{label} over time: {'; '.join(bests)}.")


def evaluations_by_trial(study: Study, trials: Sequence[Trial], curves: Curves) -> Curves:
    """The evaluations of those of ``trials`` that have any, by number; empty without
    ``task.evaluate_every``."""
    metric = study.task.best_metric
    if study.task.evaluate_every is None or metric is None:
        return {}
    return {
        trial.number: points
        for trial in trials
        if (points := _evaluations(study, trial, curves.get(trial.number, ()), metric))
    }


def evaluation_figure(evaluations: Curves, metric: str, *, static: bool = True) -> go.Figure:
    """A line for each trial, with its best evaluation marked."""
    figure, axis = go.Figure(), Axis(metric)
    for index, (number, points) in enumerate(evaluations.items()):
        best = _best_evaluation(points, metric)
        figure.add_scatter(
            x=[point.seconds for point in points],
            y=[point.metrics[metric] for point in points],
            mode="lines+markers",
            name=f"trial {number}",
            line={"color": SERIES[index % len(SERIES)]},
            marker={
                "symbol": SYMBOLS[index % len(SYMBOLS)],
                "size": [13 if point is best else 6 for point in points],
            },
        )
    figure.update_xaxes(title="seconds of training", rangemode="tozero")
    figure.update_yaxes(axis.layout())
    return apply_theme(figure, static=static)


def _evaluations(
    study: Study, trial: Trial, curve: Sequence[CurvePoint], metric: str
) -> list[CurvePoint]:
    """The evaluations in the curve of ``trial``, without rungs, which are on fewer examples."""
    points = [point for point in curve if metric in point.metrics]
    every, workload = study.task.evaluate_every, study.workload
    if not points or every is None or workload is None:
        return points
    total, samples = points[-1].total_steps, workload.train_samples
    steps = evaluation_steps(every, trial.strategy, samples, total)
    return [point for point in points if point.step in steps]


def _best_evaluation(points: Sequence[CurvePoint], metric: str) -> CurvePoint:
    """The one whose weights count: the best, of equal ones the first."""
    sign = 1.0 if get_metric(metric).direction == "maximize" else -1.0
    return max(points, key=lambda point: sign * point.metrics[metric])


def _describe_best(number: int, points: Sequence[CurvePoint], metric: str) -> str:
    best = _best_evaluation(points, metric)
    score = format_metric(metric, best.metrics[metric])
    return f"trial {number}, {score} after {best.seconds:.1f} s (step {best.step})"
