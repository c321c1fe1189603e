"""Constraints as text: ``accuracy >= baseline - 0.01``, ``peak_memory_gib <= 8``.

::

    constraint := metric ('>=' | '<=' | '>' | '<') bound
    bound      := number | 'baseline' (('+' | '-') number)?
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, cast

from autotune.domain import Constraint
from autotune.domain.metrics import METRICS
from autotune.errors import ExpressionError
from autotune.spec.document import nearest

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_METRIC = re.compile(r"\s*(?P<metric>\w+)\s*")
_OPERATOR = re.compile(r"(?P<operator>>=|<=|>|<)\s*")
_BOUND = re.compile(
    rf"(?:(?P<number>[+-]?{_NUMBER})|baseline(?:\s*(?P<sign>[+-])\s*(?P<offset>{_NUMBER}))?)\s*$"
)


def parse(text: str) -> Constraint:
    """Read one constraint. Raises :class:`ExpressionError` with the column of the mistake."""
    metric = _METRIC.match(text)
    if metric is None:
        raise ExpressionError("a constraint starts with a metric, as in accuracy >= 0.8")
    name = metric["metric"]
    if name not in METRICS:
        column = metric.start("metric")
        raise ExpressionError(f"unknown metric '{name}'; {nearest(name, METRICS)}", column=column)
    sign = _OPERATOR.match(text, metric.end())
    if sign is None:
        raise ExpressionError(f"expected >=, <=, > or < after '{name}'", column=metric.end())
    bound = _BOUND.match(text, sign.end())
    if bound is None:
        wanted = "expected a number, 'baseline', or 'baseline - 0.01'"
        raise ExpressionError(f"{wanted}, found '{text[sign.end() :]}'", column=sign.end())
    operator = cast(Literal[">=", "<=", ">", "<"], sign["operator"])
    relative = bound["number"] is None
    number = float(bound["number"] or f"{bound['sign'] or ''}{bound['offset'] or 0}")
    if not math.isfinite(number):
        raise ExpressionError("the bound is too large a number", column=sign.end())
    return Constraint(name, operator, number, relative)


def contradiction(first: Constraint, second: Constraint) -> str | None:
    """Why no number can keep both, ``None`` where one can."""
    if first.metric != second.metric or first.relative != second.relative:
        return None
    lower = [c for c in (first, second) if c.operator in (">", ">=")]
    upper = [c for c in (first, second) if c.operator in ("<", "<=")]
    if len(lower) != 1 or len(upper) != 1:
        return f"repeats '{first}'" if first == second else None
    strict = lower[0].operator == ">" or upper[0].operator == "<"
    if lower[0].bound < upper[0].bound or (lower[0].bound == upper[0].bound and not strict):
        return None
    return f"contradicts '{first}'"


def objections(constraint: Constraint, before: Sequence[Constraint]) -> list[str]:
    """What is wrong with a constraint that can be read, given those ``before`` it."""
    found = [contradiction(other, constraint) for other in before]
    sentences = [f"'{constraint}' {text}" for text in found if text is not None]
    if METRICS[constraint.metric].unit == "ratio" and abs(constraint.bound) > 1:
        share = f"{constraint.bound / 100:g}"
        sentences.append(f"{constraint.metric} is a ratio of at most 1; for percent write {share}")
    return sentences
