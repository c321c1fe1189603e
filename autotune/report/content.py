"""The content of a report: result, recommendations, front, levers, method, all trials."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from autotune.analysis.budget import busy_seconds
from autotune.analysis.drift import is_clear_difference
from autotune.analysis.front import value_of
from autotune.analysis.importance import lever_importance, setting_effects, varied_levers
from autotune.analysis.intervals import figure_interval
from autotune.analysis.recommendation_text import describe_empty_front
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.summary import budget_use, count_by_state
from autotune.analysis.text import (
    UNCLEAR,
    UNCLEAR_CAPTION,
    format_estimate,
    format_interval,
    format_metric,
    format_ratio_to_default,
    metric_label,
)
from autotune.domain import State, Study, Trial
from autotune.domain.metrics import get_metric
from autotune.levers import LEVERS, has_effect
from autotune.report.axes import Axis
from autotune.report.blocks import Block, Command, Figure, Heading, Paragraph, Table
from autotune.report.evaluation_section import Curves, evaluation_section
from autotune.report.figures import effect_summary_figure, front_summary_figure, growth_figure
from autotune.report.path_section import path_section
from autotune.version import __version__

HEADING = "Report of study "
"""The first heading begins with this."""

GOALS: Mapping[str, str] = {
    "fastest": "Highest speed",
    "most-accurate": "Highest accuracy",
    "cheapest": "Lowest cost",
    "knee": "Best compromise",
}
"""What each recommended trial is best for."""

MAX_LEVERS = 6
MAX_FRONT_ROWS = 40
MAX_OPEN_ROWS = 60
"""Longer tables are folded."""


def content(
    snapshot: Snapshot, environment: Mapping[str, Any], curves: Curves | None = None
) -> Iterator[Block]:
    """The blocks of the report of a study."""
    picks = recommended(snapshot)
    yield Heading(f"{HEADING}{snapshot.study.name}", 1)
    yield from _summary(snapshot, picks)
    yield from _recommendations(snapshot, picks)
    yield from path_section(snapshot)
    yield from evaluation_section(snapshot, curves or {})
    yield from _front(snapshot)
    yield from _against_default(snapshot, picks)
    yield from _levers(snapshot)
    yield from _method(snapshot)
    yield from _environment(environment)
    yield from _all_trials(snapshot)


def recommended(snapshot: Snapshot) -> dict[str, Trial]:
    """The recommended trial for each goal that has one."""
    recommendations = snapshot.recommendations
    return {goal: recommendations[goal].trial for goal in GOALS if goal in recommendations}


def _summary(snapshot: Snapshot, picks: Mapping[str, Trial]) -> Iterator[Block]:
    study, counts = snapshot.study, count_by_state(snapshot.trials)
    minutes = busy_seconds(snapshot.trials) / 60
    aims = _listed([f"{o.direction} {metric_label(o.metric)}" for o in study.objectives])
    constraints = _listed([str(constraint) for constraint in study.constraints])
    condition = f"where {constraints}" if constraints else "without constraints"
    others = ", ".join(
        f"{counts[state]} {state.value}"
        for state in State
        if counts[state] and state is not State.COMPLETE
    )
    yield Paragraph(
        f"{study.task.model} was fine-tuned for {study.task.kind} on {_data(study)} in "
        f"{counts[State.COMPLETE]} complete trials{f' ({others})' if others else ''} over "
        f"{minutes:.1f} minutes, to {aims}, {condition}."
    )
    if not picks:
        closest = snapshot.recommendation_sentence("knee")
        reason = describe_empty_front(study, snapshot.trials)
        yield Paragraph(closest or f"Nothing is recommended: {reason}.")
        return
    size = len(snapshot.front)
    yield Paragraph(f"{size} {'strategy is' if size == 1 else 'strategies are'} on the front.")
    for goals, _ in _by_trial(picks, ("knee", "fastest")):
        yield Paragraph(snapshot.recommendation_sentence(goals[0]) or "")


def _by_trial(
    picks: Mapping[str, Trial], goals: Iterable[str] = GOALS
) -> Iterator[tuple[Sequence[str], Trial]]:
    """Each recommended trial once, with the goals that it is recommended for."""
    by_number: dict[int, list[str]] = {}
    for goal in goals:
        if goal in picks:
            by_number.setdefault(picks[goal].number, []).append(goal)
    for shared in by_number.values():
        yield shared, picks[shared[0]]


def _listed(items: Sequence[str]) -> str:
    """``a, b and c``."""
    *others, last = items or [""]
    return f"{', '.join(others)} and {last}" if others else last


def _data(study: Study) -> str:
    dataset = study.task.dataset
    return dataset if isinstance(dataset, str) else ", ".join(sorted(dataset.values()))


def _recommendations(snapshot: Snapshot, picks: Mapping[str, Trial]) -> Iterator[Block]:
    if not picks:
        return
    study = snapshot.study
    yield Heading("Recommended trials")
    rows = [
        (
            GOALS[goal],
            str(trial.number),
            snapshot.describe(trial),
            snapshot.strategy_differences[trial.number],
        )
        for goal, trial in picks.items()
    ]
    head = ("goal", "trial", f"against {study.baseline_name}", "settings")
    yield Table(head, rows, frozenset({1}))
    goal = "knee" if "knee" in picks else next(iter(picks))
    flags = ["--trial", goal, "--to", "hf-trainer", "--output", "out"]
    yield Command(shlex.join(["autotune", "export", study.name, *flags]))


def _front(snapshot: Snapshot) -> Iterator[Block]:
    objectives = snapshot.study.reported_metrics
    yield Heading("The front")
    if len(objectives) > 1 and snapshot.feasible:
        for other in objectives[1:]:
            yield Figure(
                front_summary_figure(snapshot, objectives[0], other),
                f"{Axis(other).title} against {Axis(objectives[0]).title} of the complete trials, "
                "in the range of the front. A double click shows all.",
            )
    sign = snapshot.study.objectives[0].sign
    entries = sorted(snapshot.front, key=lambda t: -sign * (value_of(t, objectives[0]) or 0.0))
    if len(entries) > MAX_FRONT_ROWS:
        yield Paragraph(
            f"The first {MAX_FRONT_ROWS} of {len(entries)} by {Axis(objectives[0]).title}:"
        )
    rows = [
        [
            str(trial.number),
            *(_with_interval(trial, metric) for metric in objectives),
            _evidence(snapshot, trial),
            snapshot.strategy_differences[trial.number],
        ]
        for trial in entries[:MAX_FRONT_ROWS]
    ]
    head = ["trial", *(Axis(metric).title for metric in objectives), "confirmation", "settings"]
    yield Table(head, rows, frozenset(range(len(objectives) + 1)))
    if len(snapshot.hypervolume_history) > 1:
        yield Figure(growth_figure(snapshot, static=True), "Hypervolume after each finished trial.")


def _evidence(snapshot: Snapshot, trial: Trial) -> str:
    """Whether a trial is confirmed, with its test scores, and whether it was run as a whole."""
    notes = [snapshot.status_phrase(trial), snapshot.sharing_note(trial)]
    return "; ".join(note for note in notes if note is not None)


def _with_interval(trial: Trial, metric: str) -> str:
    measured = trial.result.measurements.get(metric)
    if measured is None:
        return "not measured"
    ends = format_interval(metric, figure_interval(trial, metric).ci95)
    return f"{format_metric(metric, measured.value, unit=False)}{f' ({ends})' if ends else ''}"


def _against_default(snapshot: Snapshot, picks: Mapping[str, Trial]) -> Iterator[Block]:
    default = snapshot.baseline
    if default is None or not picks:
        return
    yield Heading(f"All metrics of {snapshot.study.baseline_name} and the recommended trials")
    others = [(g, trial) for g, trial in _by_trial(picks) if trial.number != default.number]
    rows = []
    for metric in snapshot.metrics:
        base = value_of(default, metric)
        cells = [
            f"{format_metric(metric, value_of(trial, metric))} "
            f"{_against(metric, trial, default)}".strip()
            for _, trial in others
        ]
        rows.append([metric_label(metric), format_metric(metric, base), *cells])
    yield Paragraph(f"As measured, not after shrinkage. {UNCLEAR_CAPTION}.")
    head = ["", "default", *(f"{' and '.join(goals)} ({trial.number})" for goals, trial in others)]
    yield Table(head, rows, frozenset(range(1, len(head))))


def _against(metric: str, trial: Trial, default: Trial) -> str:
    """A measurement against that of the default: in points of a share, else as a ratio, of speeds
    and times relative to the reference workload."""
    value, base = value_of(trial, metric), value_of(default, metric)
    if value is None or base is None:
        return ""
    if get_metric(metric).is_ratio:
        mark = UNCLEAR * (not is_clear_difference(metric, trial, default))
        return f"({100 * (value - base):+.1f} points{mark})"
    ratio = format_ratio_to_default(metric, trial, default)
    return f"({ratio})" if ratio else ""


def _levers(snapshot: Snapshot) -> Iterator[Block]:
    study, trials = snapshot.study, snapshot.trials
    names = varied_levers(study, trials)
    if not names:
        return
    yield Heading("Effects of the levers")
    objectives = study.reported_metrics
    shares = {metric: lever_importance(study, trials, metric) for metric in objectives}
    shares = {metric: share for metric, share in shares.items() if share}
    if shares:
        names.sort(key=lambda name: -max(share.get(name, 0.0) for share in shares.values()))
        yield Paragraph("How much each lever matters for a good result (PED-ANOVA):")
        rows = [
            [n, *(_share(n, metric, s) for metric, s in shares.items()), _summary_of(n)]
            for n in names
        ]
        head = ["lever", *(metric_label(metric) for metric in shares), ""]
        yield Table(head, rows, frozenset(range(1, len(shares) + 1)))
    yield Paragraph(
        "Means over the trials of each setting (their number in parentheses) with 95% intervals. A "
        "search tries good settings more often, so a mean is an association, not a cause."
    )
    for name in names[:MAX_LEVERS]:
        for metric in objectives[:2]:
            by_setting = setting_effects(study, trials, name, metric)
            if len(by_setting) > 1 and has_effect(name, metric):
                yield Heading(f"{name}: {metric_label(metric)}", 3)
                yield Figure(
                    effect_summary_figure(by_setting, metric),
                    f"Mean {Axis(metric).title} by setting of {name}.",
                )


def _share(lever: str, metric: str, shares: Mapping[str, float]) -> str:
    """The importance of a lever; empty where it can have no effect."""
    return f"{shares.get(lever, 0.0):.0%}" if has_effect(lever, metric) else ""


def _summary_of(lever: str) -> str:
    return LEVERS[lever].summary if lever in LEVERS else ""


def _method(snapshot: Snapshot) -> Iterator[Block]:
    yield Heading("Method and noise")
    yield Paragraph(
        "Every trial is a fine-tune in its own process. Speed is the number of training samples "
        "per second in steady state, without the first steps. Intervals are 95% intervals: of "
        "speed over timing windows of half a second, of accuracy by Wilson over the evaluated "
        "samples. Each trial has one seed. Two seeds of one strategy often differ by more than the "
        "interval of one. Comparisons with the default are posterior means: they join all runs of "
        "a strategy, on validation and on test samples, and what like strategies have reached, so "
        "that the best of many is not better than it will be. Speeds and times are compared "
        "relative to the reference workload."
    )
    complete = [trial for trial in snapshot.trials if trial.state is State.COMPLETE]
    if drift := _drift(complete):
        yield Paragraph(drift)
    uses = budget_use(snapshot.study, snapshot.trials)
    parts = [
        f"{u.used:.3g}{f' of {u.limit:g}' if u.limit else ''} {u.name.replace('usd', 'USD')}"
        for u in uses
    ]
    task, sampler = snapshot.study.task, snapshot.study.sampler
    length = f"{task.steps} steps" if task.steps else f"epochs: {task.epochs:g}"
    if task.train_samples is not None:
        length += f", at most {task.train_samples:,} training samples"
    cut = "a length that fits the data" if task.max_length is None else f"{task.max_length} tokens"
    yield Paragraph(
        f"Used: {', '.join(parts)}. Sampler {sampler.kind}, seed {sampler.seed}; data seed "
        f"{task.seed}; {length}; texts truncated to {cut}."
    )


def _drift(complete: Sequence[Trial]) -> str | None:
    """How much the speed of the machine drifted, according to the reference workload."""
    seconds = [t for trial in complete if (t := value_of(trial, "reference_seconds")) is not None]
    if len(seconds) < 3:
        return None
    variation = statistics.stdev(seconds) / statistics.fmean(seconds)
    extremes = max(seconds) / min(seconds)
    return (
        "A reference workload was timed during every trial: it varied by "
        f"{variation:.1%} (standard deviation over mean; slowest {extremes:.2f} times "
        "the fastest). Smaller differences in speed are drift, unless the relative speed, which is "
        "corrected for drift, shows them too."
    )


def _environment(environment: Mapping[str, Any]) -> Iterator[Block]:
    if not environment:
        return
    hardware: Mapping[str, Any] = environment.get("hardware") or {}
    devices = [str(d.get("name") or d.get("id")) for d in hardware.get("devices") or []]
    memory = hardware.get("memory_gib")
    facts = {
        "CPU": hardware.get("cpu"),
        "cores": len(hardware.get("cores") or []) or None,
        "memory": None if memory is None else f"{memory:.1f} GiB",
        "devices": ", ".join(devices) or None,
        "system": environment.get("system"),
        "Python": environment.get("python"),
        **(environment.get("packages") or {}),
        "commit": environment.get("git_commit"),
        "autotune": __version__,
    }
    yield Heading("Environment")
    yield Table(("", ""), [(name, str(fact)) for name, fact in facts.items() if fact is not None])


def _all_trials(snapshot: Snapshot) -> Iterator[Block]:
    yield Heading("All trials")
    objectives = snapshot.study.reported_metrics
    others = [m for m in ("peak_memory_gib",) if m in snapshot.metrics and m not in objectives]
    metrics = [*objectives, *others]
    rows = [
        [
            str(trial.number),
            trial.reason or snapshot.verdict_texts[trial.number],
            *(
                format_estimate(m, v, figure_interval(trial, m).ci95)
                if (v := value_of(trial, m)) is not None
                else ""
                for m in metrics
            ),
            _seconds(trial),
            snapshot.strategy_differences[trial.number],
        ]
        for trial in snapshot.trials
    ]
    head = ["trial", "outcome", *(Axis(metric).title for metric in metrics), "time", "settings"]
    yield Table(
        head, rows, frozenset({0, *range(2, len(metrics) + 3)}), folded=len(rows) > MAX_OPEN_ROWS
    )


def _seconds(trial: Trial) -> str:
    return "" if trial.seconds is None or math.isnan(trial.seconds) else f"{trial.seconds:.0f} s"
