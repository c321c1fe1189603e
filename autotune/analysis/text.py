"""Values, settings and comparisons as text. The command line, reports, trackers and the dashboard
all use these functions, so that the same value reads the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping

from autotune.analysis.drift import is_clear_difference, relative_ratio
from autotune.domain import Strategy, Study, Trial, Value
from autotune.domain.metrics import METRICS, Metric, MetricKind, get_metric

DEFAULT_NAME = "the default configuration"
UNCLEAR = "?"
"""Follows a comparison whose 95% interval contains no difference, or that has none."""
UNCLEAR_CAPTION = f"{UNCLEAR} no clear difference: the 95% interval contains none, or is unknown"


def format_value(value: Value | None) -> str:
    """A setting of a lever for people: ``yes``, ``0.0001``, ``bf16``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_setting(value: Value | None) -> str:
    """A setting of a lever as a study file has it: ``true``, ``0.0001``, ``bf16``."""
    return str(value).lower() if isinstance(value, bool) else format_value(value)


def value_sort_key(value: Value) -> tuple[bool, float, str]:
    """Sorts numbers by size, then words."""
    is_word = isinstance(value, str)
    return is_word, 0.0 if isinstance(value, str) else float(value), str(value)


def describe_baseline(study: Study) -> str:
    """The baseline of ``study`` in words: :data:`DEFAULT_NAME`, or the user's own."""
    name = study.baseline_name
    return DEFAULT_NAME if DEFAULT_NAME.startswith(name) else name


def strategy_difference(
    strategy: Strategy, default: Mapping[str, Value], default_name: str = DEFAULT_NAME
) -> str:
    """The settings that differ from ``default``, in the order of the strategy:
    ``batch_size 16, precision bf16``; ``default_name`` if none differs."""
    parts = [
        f"{lever} {format_value(value)}"
        for lever, value in strategy.values.items()
        if default.get(lever) != value
    ]
    return ", ".join(parts) or default_name


def strategy_settings(strategy: Strategy, default: Strategy) -> list[str]:
    """The settings that differ from ``default``, by name of the lever, as ``--set`` takes them:
    ``["batch_size=16", "precision=bf16"]``. Levers that a strategy lacks, because they were added
    later, had their defaults."""
    return [
        f"{lever}={format_setting(value)}"
        for lever, (value, _) in strategy.differences(default).items()
        if value is not None
    ]


def format_metric(metric: str, value: float | None, *, unit: bool = True) -> str:
    """A value of a metric: ``212.4 samples/s``, ``81.2%``. Without its ``unit``, for tables whose
    heading has it; percent and dollar signs stay."""
    if value is None:
        return "not measured"
    entry = METRICS.get(metric)
    if entry is None:
        return f"{value:.4g}"
    if entry.kind is MetricKind.SHARE:
        return f"{100 * value:.1f}%"
    if entry.kind is MetricKind.CORRELATION:
        return f"{value:.3f}"
    if entry.kind is MetricKind.MONEY:
        suffix = entry.unit.removeprefix("USD") if unit else ""
        return f"${value:.{_usd_decimals(value)}f}{suffix}"
    return f"{value:,.{entry.decimals}f}{f' {entry.unit}' if unit else ''}"


def format_interval(metric: str, ci95: tuple[float, float] | None) -> str:
    """A 95% interval next to a value with its unit: ``205.1 to 217.7``; empty if unknown."""
    if ci95 is None:
        return ""
    return " to ".join(format_metric(metric, end, unit=False) for end in ci95)


def format_estimate(metric: str, value: float, ci95: tuple[float, float] | None) -> str:
    """For tables, a value and half its 95% interval: of a share in points, of a correlation in its
    unit, else as a share of the value: ``212.4 ±3%``, ``81.2% ±1.9``, ``0.334 ±0.100``."""
    text = format_metric(metric, value, unit=False)
    if ci95 is None:
        return text
    half = (ci95[1] - ci95[0]) / 2
    kind = get_metric(metric).kind
    if kind is MetricKind.SHARE:
        return f"{text} ±{100 * half:.1f}"
    if kind is MetricKind.CORRELATION:
        return f"{text} ±{half:.3f}"
    if half == 0:
        return f"{text} ±0%"
    return f"{text} ±{half / abs(value):.0%}" if half <= abs(value) else f"{text} ±>100%"


def _usd_decimals(value: float) -> int:
    """Decimals that leave at least two significant digits."""
    return 2 if value >= 1 else 4 if value >= 0.01 else 6


def format_ratio_to_default(metric: str, trial: Trial, default: Trial | None) -> str | None:
    """``metric`` of ``trial`` as a multiple of the default's at the same speed of the machine, such
    as ``2.8x``, with :data:`UNCLEAR` where the measurements do not tell them apart; ``None`` if one
    is unknown."""
    ratio = relative_ratio(metric, trial, default)
    if ratio is None or default is None:
        return None
    return format_ratio(ratio) + UNCLEAR * (not is_clear_difference(metric, trial, default))


def format_ratio(ratio: float) -> str:
    """A ratio with two significant digits: ``0.39x``, ``2.8x``, ``13x``; ``1.04x`` near 1."""
    return f"{ratio:.{0 if abs(ratio) >= 9.95 else 1 if abs(ratio) >= 1.995 else 2}f}x"


def metric_label(name: str) -> str:
    return METRICS[name].label if name in METRICS else name


def conjunction(phrase: str) -> str:
    """The word between a comparison and what it compares with: ``than``, ``as``, ``of``; ``from``
    after a missing difference."""
    if phrase.startswith("no clear difference"):
        return "from"
    if phrase.startswith(("as ", "the same")):
        return "as"
    return "of" if "x the " in phrase else "than"


def comparison_phrase(metric: Metric, value: float, base: float) -> str:
    """``value`` compared with ``base``: ``2.8x faster``, ``0.4 points less accurate``."""
    if metric.comparison == "faster":
        return _speed_phrase(metric, value / base)
    if metric.is_ratio:
        return _points_phrase(metric, 100 * (value - base))
    is_cost, change = metric.comparison == "cheaper", value / base - 1
    subject = f" {metric.context if is_cost else metric.label}".rstrip()
    if abs(change) < 0.005:
        return f"as cheap{subject}" if is_cost else f"the same{subject}"
    if change >= 1:
        return f"{format_ratio(change + 1)} the{' cost' if is_cost else ''}{subject}"
    less, more = ("cheaper", "more expensive") if is_cost else ("lower", "higher")
    return f"{abs(change):.0%} {less if change < 0 else more}{subject}"


def _speed_phrase(metric: Metric, ratio: float) -> str:
    speedup = ratio if metric.direction == "maximize" else 1 / ratio if ratio else 1.0
    if 0.995 <= speedup <= 1.005:
        comparison = "as fast"
    elif speedup > 1:
        comparison = f"{format_ratio(speedup)} faster"
    else:
        comparison = f"{format_ratio(1 / speedup)} slower"
    return f"{comparison} {metric.context}".rstrip()


def _points_phrase(metric: Metric, points: float) -> str:
    if metric.comparison == "more accurate":
        if abs(points) < 0.05:
            return f"as accurate {metric.context}".rstrip()
        comparison = f"{abs(points):.1f} points {'more' if points > 0 else 'less'} accurate"
        return f"{comparison} {metric.context}".rstrip()
    if abs(points) < 0.05:
        return f"the same {metric.label}"
    return f"{abs(points):.1f} points {'higher' if points > 0 else 'lower'} {metric.label}"
