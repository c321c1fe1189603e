"""The end of a search in a terminal: the front as a listing and a plot, and what to type next."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from autotune.analysis.comparison_text import format_comparison
from autotune.analysis.drift import has_drifted
from autotune.analysis.probability import FrontPoint
from autotune.analysis.recommendation_text import describe_empty_front
from autotune.analysis.replicates import Estimate
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import UNCLEAR, UNCLEAR_CAPTION, format_estimate, format_metric
from autotune.analysis.verdict import learning_failure
from autotune.cli.layout import Column, Listing, Row
from autotune.cli.output import non_default_settings, out, unit_heading
from autotune.cli.plot import DEFAULT, FRONT, KNEE, plot
from autotune.cli.trials import SHARED, SHARED_CAPTION
from autotune.domain import Trial
from autotune.domain.metrics import get_metric

CONFIRMED = "✓"
CONFIRMED_CAPTION = (
    f"{CONFIRMED} full training run repeated with other seeds and evaluated on the test split"
)
AGAINST_CAPTION = (
    "times {}, of scores points more or less: after shrinkage, from all runs of like strategies"
)
DRIFT_CAPTION = "; speeds relative to the reference workload, since the machine drifted"
RATIO_WIDTH = 6
"""Columns of a comparison with the default, so that they stand below each other."""
STEP_SPACING = 4
"""Columns in front of a command to type next, and between it and its purpose."""


def print_front(snapshot: Snapshot) -> None:
    """Print the front, its plot and the knee in a sentence, or why there is no front."""
    study = snapshot.study
    if not snapshot.front:
        reason = describe_empty_front(study, snapshot.trials)
        out.print(Text(f"{study.name}: {reason}", style="yellow"))
        return
    out.print(front_listing(snapshot))
    if len(study.objectives) > 1:
        out.print(plot(snapshot, out.width))
    if (sentence := snapshot.recommendation_sentence("knee")) is not None:
        out.print(Text(sentence))


def front_listing(snapshot: Snapshot) -> Listing:
    """The default, then the trials of the front: every figure with its 95% interval and its ratio
    to the default, then the settings."""
    columns = [Column("trial")]
    for metric in map(get_metric, snapshot.study.reported_metrics):
        columns.append(Column(metric.label, unit_heading(metric)))
    columns.append(Column("P(front)"))
    members = [point.trial for point in snapshot.front_points.values()]
    rows = [_point_row(snapshot, point) for point in snapshot.front_points.values()]
    if snapshot.baseline is not None and snapshot.baseline not in members:
        rows.insert(0, _default_row(snapshot, snapshot.baseline))
    name = snapshot.study.baseline_name
    title = "Best" if snapshot.study.has_goal else "Pareto front"
    return Listing(
        columns,
        rows,
        title=f"{title} of {snapshot.study.name} (± 95% interval, against {name})",
        details=f"settings that differ from {name}",
        caption=_captions(snapshot, members),
    )


def _captions(snapshot: Snapshot, members: Sequence[Trial]) -> str:
    """What the marks and the comparisons of a front mean, a line each."""
    default, name = snapshot.baseline, snapshot.study.baseline_name
    drifted = any(has_drifted(trial, default) for trial in members)
    numbers = {trial.number for trial in (*members, default) if trial is not None}
    captions = [
        AGAINST_CAPTION.format(name) + DRIFT_CAPTION * drifted,
        UNCLEAR_CAPTION if _has_unclear_figure(snapshot, members) else "",
        CONFIRMED_CAPTION if snapshot.confirmed & numbers else "",
        SHARED_CAPTION if any(snapshot.recommender.sources(t) for t in members) else "",
    ]
    return "\n".join(caption for caption in captions if caption)


def _has_unclear_figure(snapshot: Snapshot, members: Sequence[Trial]) -> bool:
    return any(
        _against(snapshot, trial, name).endswith(UNCLEAR)
        for trial in members
        for name in snapshot.study.reported_metrics
    )


def _default_row(snapshot: Snapshot, default: Trial) -> Row:
    metrics = snapshot.study.reported_metrics
    estimate = snapshot.replicates.estimate
    figures = [_figure(snapshot, default, m, estimate(default, m)) for m in metrics]
    details: list[str | Text] = [snapshot.study.baseline_name]
    if snapshot.replicates.confirmations(default):
        details.append(Text(_confirmation(snapshot, default), "dim"))
    return Row([f"{default.number} {DEFAULT}", *figures, ""], details, "red")


def _point_row(snapshot: Snapshot, point: FrontPoint) -> Row:
    trial = point.trial
    figures = [
        _figure(snapshot, trial, name, point.estimates.get(name))
        for name in snapshot.study.reported_metrics
    ]
    details: list[str | Text] = [non_default_settings(snapshot.study, trial)]
    if (note := learning_failure(trial)) is not None:
        details.append(Text(note, "yellow"))
    if point.is_confirmed:
        details.append(Text(_confirmation(snapshot, trial), "dim"))
    if (note := snapshot.sharing_note(trial)) is not None:
        details.append(Text(f"{SHARED} {note}", "dim"))
    mark = KNEE if trial is snapshot.knee else FRONT
    is_alone = len(snapshot.recommender.candidates) == 1
    probability = "" if is_alone else f"{point.probability:.2f}"
    return Row([f"{trial.number} {mark}", *figures, probability], details)


def _confirmation(snapshot: Snapshot, trial: Trial) -> str:
    """The number of confirmation runs, and the scores of these on the test split."""
    count = len(snapshot.replicates.confirmations(trial))
    names = snapshot.study.reported_metrics
    estimates = [(name, snapshot.replicates.test_estimate(trial, name)) for name in names]
    scores = [
        f"{get_metric(metric).label} {format_estimate(metric, estimate.value, estimate.ci95)}"
        for metric, estimate in estimates
        if estimate is not None
    ]
    runs = f"{CONFIRMED} {count} run{'s' * (count > 1)}"
    return f"{runs}, test {', '.join(scores)}" if scores else runs


def _figure(snapshot: Snapshot, trial: Trial, metric: str, estimate: Estimate | None) -> str:
    """A value with its interval, and what is believed of it against the default: the ratio, of a
    score the difference in points."""
    if estimate is None:
        return format_metric(metric, None)
    value = format_estimate(metric, estimate.value, estimate.ci95)
    return f"{value} {_against(snapshot, trial, metric):>{RATIO_WIDTH}}"


def _against(snapshot: Snapshot, trial: Trial, metric: str) -> str:
    comparison = snapshot.posterior.compare(trial, metric)
    return "" if comparison is None else format_comparison(comparison)


def print_next_steps(snapshot: Snapshot, options: str = "", remote: str | None = None) -> None:
    """Print the commands that make sense now. ``options`` are added to each; ``remote`` is the
    address of the service that has the study."""
    name, knee = snapshot.study.name, snapshot.knee
    program = "autotune" if remote is None else f"autotune --remote {remote}"
    if knee is None:
        out.print(Text(f"Next:  {program} trials {name}{options}", style="bold"))
        return
    export_format, purpose = "hf-trainer", "write files for a trainer"
    if snapshot.study.deploys and snapshot.study.keep.models != "none" and remote is None:
        is_openvino = knee.strategy.get("runtime", "torch") == "openvino"
        export_format = "openvino" if is_openvino else "onnx"
        purpose = "write the trained model"
    export = f"{program} export {name} --trial knee --to {export_format} --output out{options}"
    goal, members = ("answer", "trials") if snapshot.study.has_goal else ("knee", "front")
    steps = [(f"{program} show {name} {knee.number}{options}", f"show all details of the {goal}")]
    if remote is None:
        steps.append((f"autotune dashboard{options}", f"look at the {members} in a browser"))
    steps.append((export, purpose))
    if max(len(command) + len(purpose) for command, purpose in steps) + STEP_SPACING > out.width:
        lines = [Text.assemble((f"  {command}\n", "bold"), (f"    {purpose}", "dim"))
                 for command, purpose in steps]  # fmt: skip
        out.print("Next:")
        for line in lines:
            out.print(line, soft_wrap=True)
        return
    grid = Table.grid(padding=(0, 2))
    for command, purpose in steps:
        grid.add_row(Text(f"  {command}", style="bold"), Text(purpose, style="dim"))
    out.print(Text("Next:"), grid)
