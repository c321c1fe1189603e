"""The end of a search in a terminal: the front as a table and a plot, and what to type next."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from autotune.analysis.front import baseline, feasible, knee, pareto_front, value_of
from autotune.analysis.probability import Point, points
from autotune.analysis.replicates import Estimate, Replicates
from autotune.analysis.summary import against_default, format_metric, times_default
from autotune.cli.output import out
from autotune.cli.tables import non_default_settings
from autotune.domain import State, Study, Trial
from autotune.domain.metrics import METRICS

WIDTH, HEIGHT = 76, 18
TRIED, FRONT, KNEE, DEFAULT, CONFIRMED = "·", "●", "◆", "D", "✓"
STYLES = {FRONT: "bold green", KNEE: "bold yellow", DEFAULT: "bold red"}


def print_front(study: Study, trials: Sequence[Trial]) -> None:
    """Table, plot and the knee in a sentence; a clear word where there is no front yet."""
    front = pareto_front(study, trials)
    if not front:
        out.print(Text(f"{study.name}: {_why_no_front(study, trials)}", style="yellow"))
        return
    out.print(table(study, trials, points(study, trials, front)))
    if len(study.objectives) > 1:
        out.print(plot(study, trials, front))
    chosen = knee(study, front)
    if chosen is not None:
        text = against_default(study, trials, chosen)
        out.print(Text.assemble("Knee: trial ", (str(chosen.number), "bold yellow"), f", {text}."))


def _why_no_front(study: Study, trials: Sequence[Trial]) -> str:
    ended = [trial for trial in trials if trial.state is State.COMPLETE]
    for name in [objective.metric for objective in study.objectives]:
        if ended and all(trial.metric(name) is None for trial in ended):
            return f"no trial could measure {METRICS[name].label}"
    return "no trial has met every constraint yet" if ended else "no trial has completed yet"


def table(study: Study, trials: Sequence[Trial], front: Sequence[Point]) -> Table:
    """One row a trial of the front, the default first; every figure also as times the default."""
    default, chosen = baseline(study, trials), knee(study, [point.trial for point in front])
    title = f"Pareto front of {study.name}: ± 95% interval, x times the default"
    result = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    result.add_column("trial", justify="right")
    for objective in study.objectives:
        metric = METRICS[objective.metric]
        unit = "" if metric.unit in ("ratio", "USD") else f"\n{metric.unit}"
        result.add_column(f"{metric.label}{unit}", justify="right")
    result.add_column("P(front)", justify="right")
    result.add_column("what it sets otherwise than the default", overflow="fold")
    if default is not None and default not in [point.trial for point in front]:
        repeats = Replicates(trials)
        row = [_default(default, o.metric, repeats) for o in study.objectives]
        result.add_row(f"{default.number} {DEFAULT}", *row, "", "the default", style="red")
    for point in front:
        mark = KNEE if point.trial is chosen else FRONT
        row = [_figure(point, o.metric, default) for o in study.objectives]
        sure = f"{point.probability:.2f}" + (f"\n{CONFIRMED} {_runs(point)}" * point.confirmed)
        result.add_row(
            f"{point.trial.number} {mark}", *row, sure, non_default_settings(study, point.trial)
        )
    if any(point.confirmed for point in front):
        result.caption = f"{CONFIRMED} run again whole, with other seeds, on the test split"
        result.caption_justify = "left"
    return result


def _runs(point: Point) -> str:
    count = len(point.confirming)
    return f"{count} run{'s' * (count > 1)}"


def _default(trial: Trial, metric: str, repeats: Replicates) -> str:
    return _lines(metric, repeats.figure(trial, metric), repeats.test(trial, metric), trial)


def _figure(point: Point, metric: str, default: Trial | None) -> str:
    return _lines(metric, point.figures.get(metric), point.tested.get(metric), default)


def _lines(
    metric: str, figure: Estimate | None, tested: Estimate | None, default: Trial | None
) -> str:
    """A figure, the same as times the default, and what it is on the test split."""
    if figure is None:
        return format_metric(metric, None)
    ratio = times_default(metric, figure.value, default)
    lines = [_with_spread(metric, figure), ratio]
    lines.append(None if tested is None else f"test {_with_spread(metric, tested)}")
    return "\n".join(line for line in lines if line is not None)


def _with_spread(metric: str, figure: Estimate) -> str:
    """A value, and half its 95% interval as a share of it or in points."""
    value = format_metric(metric, figure.value, unit=False)
    if figure.ci95 is None or figure.value == 0:
        return value
    half = (figure.ci95[1] - figure.ci95[0]) / 2
    if METRICS[metric].unit == "ratio":
        return f"{value} ±{100 * half:.1f}"
    share = half / abs(figure.value)
    return f"{value} ±{share:.0%}" if share <= 1 else f"{value} ±>100%"


def plot(study: Study, trials: Sequence[Trial], front: Sequence[Trial]) -> Text:
    """The first two objectives against each other. ``D`` is the default."""
    import plotext

    across, up = study.objectives[0].metric, study.objectives[1].metric
    default, chosen = baseline(study, trials), knee(study, front)
    behind = [trial for trial in feasible(study, trials) if trial not in front]
    layers = [
        (TRIED, behind),
        (FRONT, [trial for trial in front if trial is not chosen]),
        (DEFAULT, [default] if default is not None else []),
        (KNEE, [chosen] if chosen is not None else []),
    ]
    figure = plotext.figure
    figure.clear()
    figure.plot_size(WIDTH, HEIGHT)
    for marker, members in layers:
        points = [(value_of(t, across), value_of(t, up)) for t in members]
        known = [point for point in points if None not in point]
        if known:
            xs, ys = zip(*known, strict=True)
            figure.draw(figure.signal(list(xs), list(ys), marker=marker))
    drawing = Text(str(figure.build().string(True)).rstrip("\n"))
    for marker, style in STYLES.items():
        drawing.highlight_regex(rf"(?<![A-Za-z]){marker}(?![A-Za-z])", style)
    title = f"{METRICS[up].label} (up) against {METRICS[across].label} (right)\n"
    legend = f"\n{FRONT} front  {KNEE} knee  {DEFAULT} default  {TRIED} tried"
    return Text.assemble((title, "bold"), drawing, (legend, "dim"))


def print_next_steps(study: Study, trials: Sequence[Trial], options: str = "") -> None:
    """Commands that make sense now; ``options`` are added to each."""
    chosen = knee(study, pareto_front(study, trials))
    if chosen is None:
        out.print(Text(f"Next:  autotune trials {study.name}{options}", style="bold"))
        return
    export = f"autotune export {study.name} --trial knee --to hf-trainer --output out{options}"
    steps = [
        (f"autotune show {study.name} {chosen.number}{options}", "all that is known of the knee"),
        (f"autotune dashboard{options}", "look at the front in a browser"),
        (export, "use it"),
    ]
    grid = Table.grid(padding=(0, 2))
    for command, purpose in steps:
        grid.add_row(Text(f"  {command}", style="bold"), Text(purpose, style="dim"))
    out.print(Text("Next:"), grid)
