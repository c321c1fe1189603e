"""One lever of a study file: what is asked for, and what of it this host can run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from autotune.domain import Categorical, Host, Range, Value
from autotune.domain.search_space import settings
from autotune.levers.base import Lever, Pattern
from autotune.spec.document import nearest, quote
from autotune.spec.models import LeverSpec

AUTO = "auto"

Blame = Callable[[tuple[str | int, ...], str], None]
"""Records a mistake at a path within the lever."""


class SkippedSetting(NamedTuple):
    """A setting that the study names and this host cannot run, and why."""

    lever: str
    value: str
    reason: str


@dataclass(frozen=True)
class ResolvedDomain:
    """``asked`` is what the file says, whatever the machine; ``offered`` is what is left here."""

    asked: Categorical | Range
    offered: Categorical | Range
    notes: tuple[SkippedSetting, ...] = ()


def resolve_lever(lever: Lever, spec: LeverSpec, host: Host, blame: Blame) -> ResolvedDomain | None:
    """What ``spec`` searches of ``lever`` on ``host``; ``None`` where there are mistakes."""
    ranged = [name for name in ("low", "high", "step", "log") if getattr(spec, name) is not None]
    if spec.values is None and not ranged:
        blame((), f"{lever.name} has nothing to search; give values, a range, or auto")
        return None
    if spec.values is not None and ranged:
        blame((ranged[0],), f"{lever.name} has both values and {ranged[0]}; keep one")
        return None
    if spec.values == AUTO:
        return ResolvedDomain(all_values(lever, host), lever.candidates(host))
    asked = _range(lever, spec, blame) if ranged else _choice(lever, spec.values, blame)
    return None if asked is None else _here(lever, asked, host, blame)


def all_values(lever: Lever, host: Host) -> Categorical | Range:
    """The settings that ``auto`` may stand for on some machine."""
    if isinstance(lever.domain, Pattern):
        return Categorical(tuple(lever.domain.example.split(", ")))
    return lever.domain if isinstance(lever.domain, Categorical) else lever.candidates(host)


def unavailable(lever: Lever, host: Host) -> tuple[SkippedSetting, ...]:
    """The settings of a listed lever that this host cannot run."""
    domain = all_values(lever, host)
    listed = domain.values if isinstance(domain, Categorical) else ()
    reasons = ((value, lever.unavailable(host, value)) for value in listed)
    return tuple(
        SkippedSetting(lever.name, str(value), reason) for value, reason in reasons if reason
    )


def coerce(lever: Lever, value: Any) -> Value | None:
    """``value`` in the lever's own type (8.0 is 8 batches, 1 is a rate of 1.0); ``None`` where it
    means nothing for the lever."""
    if isinstance(value, bool | int | float | str) and lever.is_legal(value):
        if isinstance(lever.domain, Range) and isinstance(value, int | float):
            return int(value) if lever.domain.integer else float(value)
        return value
    return None


def illegal(lever: Lever, value: Any) -> str:
    """The sentence about a value that means nothing for the lever."""
    words = [str(v) for v in lever.domain.values] if isinstance(lever.domain, Categorical) else []
    if isinstance(lever.domain, Pattern):
        words = lever.domain.example.split(", ")
    close = nearest(value, [*words, *lever.named_values]) if isinstance(value, str) else ""
    hint = close.split("? ")[0] + "? " if "did you mean" in close else ""
    return f"{lever.name} cannot be {quote(value)}; {hint}valid: {lever.describe()}"


def _choice(lever: Lever, written: Any, blame: Blame) -> Categorical | None:
    listed = written if isinstance(written, list) else [written]
    found: list[Value] = []
    wrong = False
    for index, value in enumerate(listed):
        place = ("values", index) if isinstance(written, list) else ("values",)
        setting = coerce(lever, value)
        if setting is None:
            blame(place, illegal(lever, value))
            wrong = True
        elif any(setting == other and type(setting) is type(other) for other in found):
            blame(place, f"{lever.name}: {quote(setting)} is given twice")
            wrong = True
        else:
            found.append(setting)
    if not listed:
        blame(("values",), f"{lever.name} has an empty list; valid: {lever.describe()}")
    return Categorical(tuple(found)) if found and not wrong else None


def _range(lever: Lever, spec: LeverSpec, blame: Blame) -> Range | None:
    domain, name = lever.domain, lever.name
    if not isinstance(domain, Range):
        blame((), f"{name} has no range; list settings: {lever.describe()}")
        return None
    if spec.low is None or spec.high is None:
        blame((), f"{name}: a range needs both low and high")
        return None
    mistakes: list[tuple[str, str]] = [
        (end, illegal(lever, getattr(spec, end)))
        for end in ("low", "high")
        if not lever.is_legal(getattr(spec, end))
    ]
    if spec.low > spec.high:
        mistakes.append(("low", f"{name}: the range is empty, low {spec.low:g} is above high"))
    if spec.step is not None:
        mistakes += _step_mistakes(lever, spec.step, spec.low, spec.high, bool(spec.log))
    if spec.log and spec.low <= 0:
        mistakes.append(("low", f"{name}: a log range starts above 0, not at {spec.low:g}"))
    for place, message in mistakes:
        blame((place,), message)
    if mistakes:
        return None
    found = Range(spec.low, spec.high, spec.step, bool(spec.log), domain.integer)
    if spec.step is None:
        return found
    last = (settings(found) or (spec.high,))[-1]
    return Range(spec.low, float(last), spec.step, False, domain.integer)


def _step_mistakes(
    lever: Lever, step: float, low: float, high: float, log: bool
) -> list[tuple[str, str]]:
    whole = isinstance(lever.domain, Range) and lever.domain.integer
    if step <= 0:
        return [("step", f"{lever.name}: step must be above 0, not {step:g}")]
    if whole and step != int(step):
        return [("step", f"{lever.name}: step must be a whole number, not {step:g}")]
    if log:
        return [("step", f"{lever.name}: step and log exclude each other; keep one")]
    if low < high and step > high - low:
        return [("step", f"{lever.name}: step {step:g} is wider than the range")]
    if (high - low) / step > MAX_STEPS:
        return [("step", f"{lever.name}: more than {MAX_STEPS:,} steps; use a wider step")]
    return []


MAX_STEPS = 100_000


def _here(
    lever: Lever, asked: Categorical | Range, host: Host, blame: Blame
) -> ResolvedDomain | None:
    """Leave out what this host cannot run; a mistake where that is everything."""
    finite = settings(asked)
    if finite is None:
        return ResolvedDomain(asked, asked)
    reasons = [(value, lever.unavailable(host, value)) for value in finite]
    kept = tuple(value for value, reason in reasons if reason is None)
    left_out = [(value, reason) for value, reason in reasons if reason is not None]
    if not kept:
        why = "; ".join(dict.fromkeys(reason for _, reason in left_out[:3]))
        blame(
            ("values", 0) if isinstance(asked, Categorical) else (),
            f"this host cannot run {lever.name} {quote(finite[0])}: {why}"
            if len(finite) == 1
            else f"this host can run none of the settings of {lever.name}: {why}",
        )
        return None
    if not left_out:
        return ResolvedDomain(asked, asked)
    if isinstance(asked, Categorical):
        notes = [SkippedSetting(lever.name, str(value), reason) for value, reason in left_out]
    else:
        notes = [_span(lever, [value for value, _ in left_out], left_out[0][1])]
    return ResolvedDomain(asked, Categorical(kept), tuple(notes))


def _span(lever: Lever, values: Sequence[Value], reason: str) -> SkippedSetting:
    ends = f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
    return SkippedSetting(lever.name, ends, reason)
