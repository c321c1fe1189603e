"""What a report says, in the order in which a reader asks."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from autotune import __version__
from autotune.analysis.budget import busy_seconds
from autotune.analysis.front import value_of
from autotune.analysis.importance import lever_importance, setting_effects, varied_levers
from autotune.analysis.select import select_trial
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.summary import budget_use, count_by_state
from autotune.analysis.text import (
    compare_with_default,
    format_interval,
    format_metric,
    format_ratio,
)
from autotune.domain import State, Study, Trial
from autotune.domain.metrics import METRICS
from autotune.errors import NotFoundError
from autotune.levers import LEVERS
from autotune.report.blocks import Block, Command, Figure, Heading, Paragraph, Table
from autotune.report.figures import effect_figure, front_figure, growth_figure, label

USERS: Mapping[str, str] = {
    "fastest": "You want speed",
    "most-accurate": "You want accuracy",
    "cheapest": "You want it cheap",
    "knee": "You want the best compromise",
}
MOST_LEVERS = 6
MOST_ENTRIES = 40
"""Members of the front that are listed one by one."""


def content(snapshot: Snapshot, environment: Mapping[str, Any]) -> Iterator[Block]:
    """The blocks of the report of a study."""
    picks = recommended(snapshot)
    yield Heading(f"Report of study {snapshot.study.name}", 1)
    yield from _summary(snapshot, picks)
    yield from _recommendations(snapshot, picks)
    yield from _front(snapshot)
    yield from _against_default(snapshot, picks)
    yield from _levers(snapshot)
    yield from _method(snapshot)
    yield from _environment(environment)
    yield from _all_trials(snapshot)


def recommended(snapshot: Snapshot) -> dict[str, Trial]:
    """The trial for each kind of user, where there is one."""
    found = {}
    for word in USERS:
        try:
            found[word] = select_trial(snapshot.study, snapshot.trials, word)
        except NotFoundError:
            continue
    return found


def _summary(snapshot: Snapshot, picks: Mapping[str, Trial]) -> Iterator[Block]:
    study, done = snapshot.study, count_by_state(snapshot.trials)
    minutes = busy_seconds(snapshot.trials) / 60
    aims = _listed([f"{o.direction} {label(o.metric)}" for o in study.objectives])
    asked = _listed([str(constraint) for constraint in study.constraints])
    bounds = f"where {asked}" if asked else "without constraints"
    others = ", ".join(
        f"{done[state]} {state.value}" for state in State if done[state] and state != "complete"
    )
    yield Paragraph(
        f"{study.task.model} was fine-tuned for {study.task.kind} on {_data(study)} in "
        f"{done[State.COMPLETE]} complete trials{f' ({others})' if others else ''} over "
        f"{minutes:.1f} minutes, to {aims}, {bounds}."
    )
    if not picks:
        yield Paragraph(
            "No trial is complete and within the constraints, so nothing is recommended."
        )
        return
    size = len(snapshot.front)
    told = [f"{size} {'strategy is' if size == 1 else 'strategies are'} on the front."]
    for words, trial in _by_trial(picks, ("fastest", "knee")):
        story = compare_with_default(study, snapshot.trials, trial)
        said = f"The {' and the '.join(words)} {'is' if len(words) == 1 else 'are'}"
        told.append(f"{said} trial {trial.number}: {story}.")
    yield Paragraph(" ".join(told))


def _by_trial(
    picks: Mapping[str, Trial], words: Iterable[str] = USERS
) -> Iterator[tuple[Sequence[str], Trial]]:
    """Each recommended trial once, with the words that it is recommended by."""
    found: dict[int, list[str]] = {}
    for word in words:
        if word in picks:
            found.setdefault(picks[word].number, []).append(word)
    for same in found.values():
        yield same, picks[same[0]]


def _listed(words: Sequence[str]) -> str:
    *most, last = words or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _data(study: Study) -> str:
    dataset = study.task.dataset
    return dataset if isinstance(dataset, str) else ", ".join(sorted(dataset.values()))


def _recommendations(snapshot: Snapshot, picks: Mapping[str, Trial]) -> Iterator[Block]:
    if not picks:
        return
    study = snapshot.study
    yield Heading("Which one to take")
    rows = [
        (
            USERS[word],
            str(trial.number),
            compare_with_default(study, snapshot.trials, trial),
            snapshot.strategy_differences[trial.number],
        )
        for word, trial in picks.items()
    ]
    yield Table(("if", "trial", "against the default", "it sets"), rows, frozenset({1}))
    word = "knee" if "knee" in picks else next(iter(picks))
    flags = ["--trial", word, "--to", "hf-trainer", "--output", "out"]
    yield Command(shlex.join(["autotune", "export", study.name, *flags]))


def _front(snapshot: Snapshot) -> Iterator[Block]:
    objectives = [objective.metric for objective in snapshot.study.objectives]
    yield Heading("The front")
    if len(objectives) > 1 and snapshot.feasible:
        for other in objectives[1:]:
            yield Figure(
                front_figure(snapshot, objectives[0], other),
                f"{label(other)} against {label(objectives[0])} of every complete trial.",
            )
    entries = sorted(snapshot.front, key=lambda t: -(value_of(t, objectives[0]) or 0.0))
    if len(entries) > MOST_ENTRIES:
        yield Paragraph(f"The first {MOST_ENTRIES} of {len(entries)} by {label(objectives[0])}:")
    rows = [
        [
            str(trial.number),
            *(_with_interval(trial, metric) for metric in objectives),
            snapshot.strategy_differences[trial.number],
        ]
        for trial in entries[:MOST_ENTRIES]
    ]
    head = ["trial", *(label(metric) for metric in objectives), "it sets"]
    yield Table(head, rows, frozenset(range(len(objectives) + 1)))
    if len(snapshot.hypervolume_history) > 1:
        yield Figure(
            growth_figure(snapshot), "How much the front dominates after each finished trial."
        )


def _with_interval(trial: Trial, metric: str) -> str:
    measured = trial.result.measurements.get(metric)
    if measured is None:
        return "not measured"
    ends = format_interval(metric, measured.ci95)
    return f"{format_metric(metric, measured.value, unit=False)}{f' ({ends})' if ends else ''}"


def _against_default(snapshot: Snapshot, picks: Mapping[str, Trial]) -> Iterator[Block]:
    default = snapshot.baseline
    if default is None or not picks:
        return
    yield Heading("Every figure, default against best")
    chosen = [(w, trial) for w, trial in _by_trial(picks) if trial.number != default.number]
    rows = []
    for metric in snapshot.metrics:
        base = value_of(default, metric)
        values = [value_of(trial, metric) for _, trial in chosen]
        cells = [
            f"{format_metric(metric, value)} {_against(metric, value, base)}".strip()
            for value in values
        ]
        rows.append([_name(metric), format_metric(metric, base), *cells])
    head = ["", "default", *(f"{' and '.join(words)} ({trial.number})" for words, trial in chosen)]
    yield Table(head, rows, frozenset(range(1, len(head))))


def _against(metric: str, value: float | None, base: float | None) -> str:
    """A value against the default's: points of a share, else times."""
    if value is None or base is None:
        return ""
    if metric in METRICS and METRICS[metric].unit == "ratio":
        return f"({100 * (value - base):+.1f} points)"
    return f"({format_ratio(value / base)})" if base else ""


def _name(metric: str) -> str:
    return METRICS[metric].label if metric in METRICS else metric


def _levers(snapshot: Snapshot) -> Iterator[Block]:
    study, trials = snapshot.study, snapshot.trials
    names = varied_levers(study, trials)
    if not names:
        return
    yield Heading("What the levers do")
    objectives = [objective.metric for objective in study.objectives]
    shares = {metric: lever_importance(study, trials, metric) for metric in objectives}
    known = {metric: share for metric, share in shares.items() if share}
    if known:
        names.sort(key=lambda name: -max(share.get(name, 0.0) for share in known.values()))
        yield Paragraph("How much of the differences between trials goes with each lever (fANOVA):")
        rows = [[n, *(f"{known[m].get(n, 0.0):.0%}" for m in known), _summary_of(n)] for n in names]
        head = ["lever", *(_name(metric) for metric in known), ""]
        yield Table(head, rows, frozenset(range(1, len(known) + 1)))
    yield Paragraph(
        "Means over the trials of each setting (how many in brackets) with 95% intervals. A search "
        "does not try all settings alike: they say what went with a setting, not what it causes."
    )
    for name in names[:MOST_LEVERS]:
        for metric in objectives[:2]:
            found = setting_effects(study, trials, name, metric)
            if len(found) > 1:
                yield Heading(f"{name}: {_name(metric)}", 3)
                yield Figure(
                    effect_figure(found, metric), f"Mean {label(metric)} by setting of {name}."
                )


def _summary_of(lever: str) -> str:
    return LEVERS[lever].summary if lever in LEVERS else ""


def _method(snapshot: Snapshot) -> Iterator[Block]:
    yield Heading("Method and noise")
    yield Paragraph(
        "Every trial is a real fine-tune in a process of its own. Speed is examples trained per "
        "second of steady state, first steps left out. Intervals are 95%: of speed from windows of "
        "about a second, of accuracy by Wilson from the examples judged. One seed a trial: two "
        "seeds of one strategy differ in accuracy, often by more than the interval of one."
    )
    complete = [trial for trial in snapshot.trials if trial.state is State.COMPLETE]
    if words := _drift(complete):
        yield Paragraph(words)
    uses = budget_use(snapshot.study, snapshot.trials)
    spent = [
        f"{u.used:.3g}{f' of {u.limit:g}' if u.limit else ''} {u.name.replace('usd', 'USD')}"
        for u in uses
    ]
    task, sampler = snapshot.study.task, snapshot.study.sampler
    length = f"{task.steps} steps" if task.steps else f"epochs: {task.epochs:g}"
    yield Paragraph(
        f"Used: {', '.join(spent)}. Sampler {sampler.kind}, seed {sampler.seed}; data seed "
        f"{task.seed}; {length}; texts cut at {task.max_length} word pieces."
    )


def _drift(complete: Sequence[Trial]) -> str | None:
    """How much the machine itself changed, told by the reference workload beside each trial."""
    seconds = [t for trial in complete if (t := value_of(trial, "reference_seconds")) is not None]
    if len(seconds) < 3:
        return None
    spread = statistics.stdev(seconds) / statistics.fmean(seconds)
    extremes = max(seconds) / min(seconds)
    return (
        "The same small workload was timed beside every trial: it varied by "
        f"{spread:.1%} (standard deviation over mean; slowest {extremes:.2f} times "
        "the fastest). Differences of speed below that are drift unless the relative speed, which "
        "is free of it, shows them too."
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
    objectives = [objective.metric for objective in snapshot.study.objectives]
    also = [m for m in ("peak_memory_gib",) if m in snapshot.metrics and m not in objectives]
    metrics = [*objectives, *also]
    rows = [
        [
            str(trial.number),
            trial.reason or snapshot.verdicts[trial.number].value,
            *(
                format_metric(m, v, unit=False) if (v := value_of(trial, m)) is not None else ""
                for m in metrics
            ),
            _seconds(trial),
            snapshot.strategy_differences[trial.number],
        ]
        for trial in snapshot.trials
    ]
    head = ["trial", "outcome", *(label(metric) for metric in metrics), "took", "it sets"]
    yield Table(head, rows, frozenset({0, *range(2, len(metrics) + 3)}), folded=len(rows) > 60)


def _seconds(trial: Trial) -> str:
    return "" if trial.seconds is None or math.isnan(trial.seconds) else f"{trial.seconds:.0f} s"
