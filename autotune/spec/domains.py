"""One lever of a study file: its domain as written, and the part that a host can run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from autotune.domain import Categorical, Host, Range, Value
from autotune.domain.search_space import settings
from autotune.domain.text import closest
from autotune.levers.base import Lever, Pattern
from autotune.spec.document import Path, quote
from autotune.spec.fields import AUTO
from autotune.spec.models import LeverSpec

MAX_STEPS = 100_000

AddError = Callable[[Path, str], None]
"""Records a mistake at a path within the lever."""


class SkippedSetting(NamedTuple):
    """A setting that the study names and this host cannot run."""

    lever: str
    value: str
    reason: str


@dataclass(frozen=True)
class ResolvedDomain:
    """``written`` is the domain of the file, the same on every host; ``available`` is the part of
    it that this host can run."""

    written: Categorical | Range
    available: Categorical | Range
    skipped: tuple[SkippedSetting, ...] = ()


def resolve_lever(
    lever: Lever, spec: LeverSpec, host: Host, add_error: AddError
) -> ResolvedDomain | None:
    """The domain of ``lever`` on ``host``; ``None`` if ``spec`` has mistakes."""
    range_keys = [k for k in ("low", "high", "step", "log") if getattr(spec, k) is not None]
    if spec.values is None and not range_keys:
        add_error((), f"{lever.name} has nothing to search; give values, a range, or auto")
        return None
    if spec.values is not None and range_keys:
        add_error((range_keys[0],), f"{lever.name} has both values and {range_keys[0]}; keep one")
        return None
    if spec.values == AUTO:
        return ResolvedDomain(all_values(lever, host), lever.candidates(host))
    written: Categorical | Range | None
    if range_keys:
        written = _parse_range(lever, spec, add_error)
    else:
        written = _parse_values(lever, spec.values, add_error)
    return None if written is None else _restrict_to_host(lever, written, host, add_error)


def all_values(lever: Lever, host: Host) -> Categorical | Range:
    """The settings that ``auto`` can resolve to on any host."""
    if isinstance(lever.domain, Pattern):
        return Categorical(tuple(lever.domain.example.split(", ")))
    return lever.domain if isinstance(lever.domain, Categorical) else lever.candidates(host)


def unavailable_settings(lever: Lever, host: Host) -> tuple[SkippedSetting, ...]:
    """The settings of a categorical lever that ``host`` cannot run."""
    domain = all_values(lever, host)
    values = domain.values if isinstance(domain, Categorical) else ()
    reasons = ((value, lever.unavailable(host, value)) for value in values)
    return tuple(
        SkippedSetting(lever.name, str(value), reason) for value, reason in reasons if reason
    )


def coerce(lever: Lever, value: Any) -> Value | None:
    """``value`` in the lever's own type (8.0 as a batch size becomes 8, 1 as a rate becomes 1.0);
    ``None`` if it is not a legal setting."""
    if isinstance(value, bool | int | float | str) and lever.is_legal(value):
        if isinstance(lever.domain, Range) and isinstance(value, int | float):
            return int(value) if lever.domain.integer else float(value)
        return value
    return None


def illegal_value_message(lever: Lever, value: Any) -> str:
    words = [str(v) for v in lever.domain.values] if isinstance(lever.domain, Categorical) else []
    if isinstance(lever.domain, Pattern):
        words = lever.domain.example.split(", ")
    match = closest(value, [*words, *lever.named_values]) if isinstance(value, str) else None
    hint = f"did you mean {match}? " if match else ""
    return f"{lever.name} cannot be {quote(value)}; {hint}valid: {lever.describe()}"


def _parse_values(lever: Lever, written: Any, add_error: AddError) -> Categorical | None:
    values: list[Value] = []
    has_errors = False
    entries = written if isinstance(written, list) else [written]
    for index, entry in enumerate(entries):
        path: Path = ("values", index) if isinstance(written, list) else ("values",)
        value = coerce(lever, entry)
        if value is None:
            add_error(path, illegal_value_message(lever, entry))
            has_errors = True
        elif any(value == other and type(value) is type(other) for other in values):
            add_error(path, f"{lever.name}: {quote(value)} is given twice")
            has_errors = True
        else:
            values.append(value)
    if not entries:
        add_error(("values",), f"{lever.name} has an empty list; valid: {lever.describe()}")
    return Categorical(tuple(values)) if values and not has_errors else None


def _parse_range(lever: Lever, spec: LeverSpec, add_error: AddError) -> Range | None:
    domain, name = lever.domain, lever.name
    if not isinstance(domain, Range):
        add_error((), f"{name} has no range; list settings: {lever.describe()}")
        return None
    if spec.low is None or spec.high is None:
        add_error((), f"{name}: a range needs both low and high")
        return None
    mistakes: list[tuple[str, str]] = [
        (end, illegal_value_message(lever, getattr(spec, end)))
        for end in ("low", "high")
        if not lever.is_legal(getattr(spec, end))
    ]
    if spec.low > spec.high:
        mistakes.append(("low", f"{name}: the range is empty, low {spec.low:g} is above high"))
    if spec.step is not None:
        mistakes += _step_mistakes(lever, spec.step, spec.low, spec.high, bool(spec.log))
    if spec.log and spec.low <= 0:
        mistakes.append(("low", f"{name}: a log range starts above 0, not at {spec.low:g}"))
    for key, message in mistakes:
        add_error((key,), message)
    if mistakes:
        return None
    full = Range(spec.low, spec.high, spec.step, bool(spec.log), domain.integer)
    if spec.step is None:
        return full
    last = (settings(full) or (spec.high,))[-1]
    return Range(spec.low, float(last), spec.step, False, domain.integer)


def _step_mistakes(
    lever: Lever, step: float, low: float, high: float, log: bool
) -> list[tuple[str, str]]:
    if step <= 0:
        return [("step", f"{lever.name}: step must be above 0, not {step:g}")]
    if isinstance(lever.domain, Range) and lever.domain.integer and step != int(step):
        return [("step", f"{lever.name}: step must be a whole number, not {step:g}")]
    if log:
        return [("step", f"{lever.name}: step and log exclude each other; keep one")]
    if low < high and step > high - low:
        return [("step", f"{lever.name}: step {step:g} is wider than the range")]
    if (high - low) / step > MAX_STEPS:
        return [("step", f"{lever.name}: more than {MAX_STEPS:,} steps; use a wider step")]
    return []


def _restrict_to_host(
    lever: Lever, written: Categorical | Range, host: Host, add_error: AddError
) -> ResolvedDomain | None:
    """``written`` without the settings that ``host`` cannot run; a mistake if none is left."""
    finite = settings(written)
    if finite is None:
        return ResolvedDomain(written, written)
    reasons = [(value, lever.unavailable(host, value)) for value in finite]
    available = tuple(value for value, reason in reasons if reason is None)
    unavailable = [(value, reason) for value, reason in reasons if reason is not None]
    if not available:
        why = "; ".join(dict.fromkeys(reason for _, reason in unavailable[:3]))
        add_error(
            ("values", 0) if isinstance(written, Categorical) else (),
            f"this host cannot run {lever.name} {quote(finite[0])}: {why}"
            if len(finite) == 1
            else f"this host can run none of the settings of {lever.name}: {why}",
        )
        return None
    if not unavailable:
        return ResolvedDomain(written, written)
    if isinstance(written, Categorical):
        skipped = [SkippedSetting(lever.name, str(value), reason) for value, reason in unavailable]
    else:
        skipped = [_skipped_span(lever, [value for value, _ in unavailable], unavailable[0][1])]
    return ResolvedDomain(written, Categorical(available), tuple(skipped))


def _skipped_span(lever: Lever, values: Sequence[Value], reason: str) -> SkippedSetting:
    ends = f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
    return SkippedSetting(lever.name, ends, reason)
