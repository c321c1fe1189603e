"""A study in figures and words: counts, bests, use of the budget, a trial against the default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from autotune.analysis.budget import BudgetUsage
from autotune.analysis.front import baseline, feasible, value_of
from autotune.domain import Objective, State, Study, Trial
from autotune.domain.metrics import METRICS, Metric

SUMMARY_METRICS = ("train_samples_per_second", "accuracy", "cost_usd")
"""What a sentence about a trial mentions when nothing else is asked for."""

_FASTER = {
    "train_samples_per_second": "",
    "relative_speed": "",
    "train_seconds": "",
    "inference_samples_per_second": "at inference ",
    "inference_latency_ms": "to answer ",
    "inference_latency_p95_ms": "to answer (p95) ",
}
_CHEAPER = {"cost_usd": "", "inference_usd_per_million": " at inference"}


@dataclass(frozen=True)
class Best:
    """The best feasible value of one objective so far, and the trial that reached it."""

    objective: Objective
    trial: Trial
    value: float


@dataclass(frozen=True)
class BudgetUse:
    """How much of one budget is used: ``name`` is ``trials``, ``minutes`` or ``usd``."""

    name: str
    used: float
    limit: float | None

    @property
    def share(self) -> float | None:
        """Used part, 0..1 or beyond; ``None`` where nothing bounds it."""
        return None if not self.limit else self.used / self.limit


def counts(trials: Sequence[Trial]) -> dict[State, int]:
    """How many trials are in each state, every state named."""
    found = dict.fromkeys(State, 0)
    for trial in trials:
        found[trial.state] += 1
    return found


def best(study: Study, trials: Sequence[Trial]) -> list[Best]:
    """The best feasible trial of each objective; objectives that nobody reached are left out."""
    members = feasible(study, trials)
    if not members:
        return []
    found = []
    for objective in study.objectives:
        top = max(members, key=lambda t, o=objective: o.sign * (t.metric(o.metric) or 0.0))  # type: ignore[misc]
        found.append(Best(objective, top, float(top.metric(objective.metric) or 0.0)))
    return found


def budget_use(
    study: Study, trials: Sequence[Trial], now: datetime | None = None
) -> list[BudgetUse]:
    """Trials, minutes and dollars used so far, running trials included.

    An interrupted trial runs again and is not counted, and one that costs nothing is neither.
    Minutes count the time in which at least one trial ran (running ones up to ``now``), so a pause
    between two sessions costs nothing. Dollars are what trials that know their price held, for as
    long as they held it.
    """
    used, limits = BudgetUsage(trials, now), study.budget
    return [
        BudgetUse("trials", used.trials, limits.trials),
        BudgetUse("minutes", used.seconds / 60, limits.minutes),
        BudgetUse("usd", used.usd, limits.usd),
    ]


def format_metric(metric: str, value: float | None, *, unit: bool = True) -> str:
    """A value as a person reads it: ``212.4 samples/s``, ``81.2%``. Without its ``unit`` where a
    heading has it; per cent and dollars stay."""
    if value is None:
        return "not measured"
    known = METRICS.get(metric)
    if known is None:
        return f"{value:.4g}"
    if known.unit == "ratio":
        return f"{100 * value:.1f}%" if metric != "mcc" else f"{value:.3f}"
    if known.unit.startswith("USD"):
        return f"${value:.{_cents(value)}f}" + known.unit.removeprefix("USD")
    return f"{value:,.{known.decimals}f}{f' {known.unit}' if unit else ''}"


def interval(metric: str, ci95: tuple[float, float] | None) -> str:
    """A 95% interval to stand beside a value that carries the unit: ``205.1 to 217.7``; empty where
    unknown."""
    if ci95 is None:
        return ""
    return " to ".join(format_metric(metric, end, unit=False) for end in ci95)


def _cents(value: float) -> int:
    """Decimals that leave two or three digits to read."""
    return 2 if value >= 1 else 4 if value >= 0.01 else 6


def times_default(metric: str, value: float | None, default: Trial | None) -> str | None:
    """``value`` as a multiple of the default's, such as ``2.8x``; ``None`` where one is unknown."""
    base = value_of(default, metric)
    if value is None or base is None or base == 0:
        return None
    return times(value / base)


def times(ratio: float) -> str:
    """A ratio in as many digits as matter: ``0.39x``, ``1.04x``, ``2.8x``, ``13x``."""
    return f"{ratio:.{0 if abs(ratio) >= 9.95 else 1 if abs(ratio) >= 1.995 else 2}f}x"


def sentence(trial: Trial, default: Trial | None, metrics: Sequence[str] = SUMMARY_METRICS) -> str:
    """What choosing ``trial`` means: ``2.8x faster than the default, 0.4 points less accurate``.

    Metrics that either of the two did not measure are left out.
    """
    if default is not None and trial.number == default.number:
        return "the default configuration"
    phrases = []
    for name in metrics:
        value, base = value_of(trial, name), value_of(default, name)
        if value is not None and base is not None and base > 0 and name in METRICS:
            phrases.append(_phrase(METRICS[name], value, base))
    if not phrases:
        known = [(name, value_of(trial, name)) for name in metrics]
        figures = [f"{_label(n)} {format_metric(n, v)}" for n, v in known if v is not None]
        return ", ".join(figures) or "nothing measured"
    return ", ".join([f"{phrases[0]} {_joint(phrases[0])} the default", *phrases[1:]])


def _joint(phrase: str) -> str:
    if phrase.startswith(("as ", "the same")):
        return "as"
    return "of" if "x the " in phrase else "than"


def _label(name: str) -> str:
    return METRICS[name].label if name in METRICS else name


def _phrase(metric: Metric, value: float, base: float) -> str:
    if metric.name in _FASTER:
        return _speed(metric, value / base)
    if metric.unit == "ratio":
        return _points(metric, 100 * (value - base))
    cost, change = metric.name in _CHEAPER, value / base - 1
    what = _CHEAPER[metric.name] if cost else f" {metric.label}"
    if abs(change) < 0.005:
        return f"as cheap{what}" if cost else f"the same{what}"
    if change >= 1:
        return f"{times(change + 1)} the{' cost' if cost else ''}{what}"
    less, more = ("cheaper", "dearer") if cost else ("lower", "higher")
    return f"{abs(change):.0%} {less if change < 0 else more}{what}"


def _speed(metric: Metric, ratio: float) -> str:
    gain = ratio if metric.direction == "maximize" else 1 / ratio if ratio else 1.0
    where = _FASTER[metric.name]
    if 0.995 <= gain <= 1.005:
        return f"as fast {where}".rstrip()
    return (
        f"{times(gain)} faster {where}".rstrip()
        if gain > 1
        else (f"{times(1 / gain)} slower {where}".rstrip())
    )


def _points(metric: Metric, points: float) -> str:
    if metric.name == "accuracy":
        if abs(points) < 0.05:
            return "as accurate"
        return f"{abs(points):.1f} points {'more' if points > 0 else 'less'} accurate"
    if abs(points) < 0.05:
        return f"the same {metric.label}"
    return f"{abs(points):.1f} points {'higher' if points > 0 else 'lower'} {metric.label}"


def against_default(study: Study, trials: Sequence[Trial], trial: Trial) -> str:
    """:func:`sentence` over the study's own objectives."""
    metrics = [objective.metric for objective in study.objectives]
    return sentence(trial, baseline(study, trials), metrics)
