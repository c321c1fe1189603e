"""Constraints as text, and whether conditions and rules leave anything to search.

::

    constraint := metric ('>=' | '<=' | '>' | '<') bound
    bound      := number | 'baseline' (('+' | '-') number)?
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from itertools import islice, pairwise
from typing import Literal, NamedTuple, cast

from autotune.domain import Categorical, Constraint, Dimension, Range, SearchSpace, Value
from autotune.domain import expression as expressions
from autotune.domain.metrics import METRICS
from autotune.domain.search_space import excluded, grid, grid_values, settings
from autotune.domain.text import closest, suggest
from autotune.errors import ExpressionError
from autotune.levers import LEVERS
from autotune.levers.base import Pattern

MAX_COMBINATIONS = 20_000
"""A condition over more combinations than this is assumed to hold for one of them."""

MAX_LISTED_SETTINGS = 32
"""Longer domains are sampled when conditions are checked."""

_UNSIGNED = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_METRIC = re.compile(r"\s*(?P<metric>[\w-]+)\s*")
_OPERATOR = re.compile(r"(?P<operator>>=|<=|>|<)\s*")
_BOUND = re.compile(
    rf"(?:(?P<number>[+-]?{_UNSIGNED})"
    rf"|baseline(?:\s*(?P<sign>[+-])\s*(?P<offset>{_UNSIGNED}))?)\s*$"
)
_NUMBER = re.compile(rf"(?<![\w.]){_UNSIGNED}")
_WORD = re.compile(r"""'[^']*'|"[^"]*"|(?<![\w.])[A-Za-z_][\w:]*""")
_ARITHMETIC = "+-*/%"
_KEYWORDS = frozenset({"and", "or", "not", "in", "true", "false"})


def parse_constraint(text: str) -> Constraint:
    """Raises :class:`ExpressionError` with the column of the mistake."""
    metric = _METRIC.match(text)
    if metric is None:
        raise ExpressionError("a constraint starts with a metric, as in accuracy >= 0.8")
    name = metric["metric"]
    if name not in METRICS:
        column = metric.start("metric")
        raise ExpressionError(f"unknown metric '{name}'; {suggest(name, METRICS)}", column=column)
    sign = _OPERATOR.match(text, metric.end())
    if sign is None:
        raise ExpressionError(f"expected >=, <=, > or < after '{name}'", column=metric.end())
    bound = _BOUND.match(text, sign.end())
    if bound is None:
        expected = "expected a number, 'baseline', or 'baseline - 0.01'"
        raise ExpressionError(f"{expected}, found '{text[sign.end() :]}'", column=sign.end())
    operator = cast(Literal[">=", "<=", ">", "<"], sign["operator"])
    relative = bound["number"] is None
    number = float(bound["number"] or f"{bound['sign'] or ''}{bound['offset'] or 0}")
    if not math.isfinite(number):
        raise ExpressionError("the bound is not a finite number", column=sign.end())
    return Constraint(name, operator, number, relative)


def constraint_errors(constraint: Constraint, others: Sequence[Constraint]) -> list[str]:
    """What is wrong with a constraint, given the ``others`` before it in the file."""
    conflicts = [_conflict(other, constraint) for other in others]
    errors = [f"'{constraint}' {conflict}" for conflict in conflicts if conflict is not None]
    if METRICS[constraint.metric].is_ratio and abs(constraint.bound) > 1:
        ratio = f"{constraint.bound / 100:g}"
        errors.append(f"{constraint.metric} is a ratio of at most 1; for percent write {ratio}")
    return errors


def _conflict(first: Constraint, second: Constraint) -> str | None:
    """Why the two cannot or need not both stand; ``None`` if they can."""
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


def can_hold(condition: str, space: SearchSpace) -> bool:
    """Whether ``condition`` holds for some strategy of ``space``, its rules ignored."""
    parsed = expressions.parse(condition, space.defaults.keys())
    subspace = _subspace(space, parsed.names, condition)
    count = 0
    for strategy in islice(grid(subspace), MAX_COMBINATIONS):
        count += 1
        if parsed.holds(strategy.values):
            return True
    return count == MAX_COMBINATIONS


def is_any_allowed(space: SearchSpace) -> bool:
    """Whether the rules of ``space`` allow some strategy."""
    names: set[str] = set()
    for rule in space.rules:
        names |= expressions.parse(rule.excludes, space.defaults.keys()).names
    subspace = _subspace(space, names, " ; ".join(rule.excludes for rule in space.rules))
    if math.prod(len(grid_values(d.domain, 1)) for d in subspace.dimensions) > MAX_COMBINATIONS:
        return True
    return any(excluded(space, strategy) is None for strategy in grid(subspace))


class UnknownName(NamedTuple):
    """A word in an expression that is neither a lever nor a setting of one it names. ``closest`` is
    empty if no setting is similar."""

    column: int
    word: str
    closest: str


def unknown_names(text: str, levers: Collection[str]) -> list[UnknownName]:
    """The words of ``text`` that are no setting of the ``levers`` that it names. Settings of some
    levers can be any word: those that are similar to a lever, or a part of a sum or a quotient such
    as ``google-bert/bert-base``, have to be quoted."""
    settings_of_levers = [word for lever in levers for word in _text_settings(lever)]
    unknown = []
    for match in _WORD.finditer(text):
        word = match.group().strip("'\"")
        if word in _KEYWORDS or word in levers or word in settings_of_levers:
            continue
        similar = closest(word, settings_of_levers) or ""
        is_legal = any(LEVERS[name].is_legal(word) for name in levers)
        if is_legal and match.group() == word:
            similar = closest(word, LEVERS, cutoff=0.8) or ""
            is_legal = not similar and not _is_operand(text, match)
        if not is_legal:
            unknown.append(UnknownName(match.start(), word, similar))
    return unknown


def _is_operand(text: str, match: re.Match[str]) -> bool:
    """Whether ``match`` is a part of a sum, a product or a quotient in ``text``."""
    before, after = text[: match.start()].rstrip()[-1:], text[match.end() :].lstrip()[:1]
    return (before != "" and before in _ARITHMETIC) or (after != "" and after in _ARITHMETIC)


def _text_settings(lever: str) -> list[str]:
    domain, words = LEVERS[lever].domain, []
    if isinstance(domain, Categorical):
        words = [value for value in domain.values if isinstance(value, str)]
    elif isinstance(domain, Pattern):
        words = [example.split(":")[0] for example in domain.example.split(", ")]
    return [*words, *LEVERS[lever].named_values]


def _subspace(space: SearchSpace, levers: Collection[str], text: str) -> SearchSpace:
    """The dimensions that ``levers`` depend on. Long domains are reduced to their ends, evenly
    spaced settings, and settings around each number in the expressions."""
    names, texts = set(levers), [text]
    for dimension in reversed(space.dimensions):
        if dimension.lever in names and dimension.when is not None:
            names |= expressions.parse(dimension.when, space.defaults.keys()).names
            texts.append(dimension.when)
    numbers = sorted({float(n) for n in _NUMBER.findall(" ; ".join(texts))})
    dimensions = (
        Dimension(d.lever, Categorical(_sample_settings(d.domain, numbers)), d.when)
        for d in space.dimensions
        if d.lever in names
    )
    return SearchSpace(tuple(dimensions), space.defaults)


def _sample_settings(domain: Categorical | Range, numbers: list[float]) -> tuple[Value, ...]:
    finite = settings(domain)
    if isinstance(domain, Categorical) or (
        finite is not None and len(finite) <= MAX_LISTED_SETTINGS
    ):
        return finite or ()
    near = [*numbers, *(sum(pair) / 2 for pair in pairwise(numbers))]
    inside = [n for n in near if domain.low <= n <= domain.high]
    if finite is None:
        return tuple(dict.fromkeys((*grid_values(domain, 9), *inside)))
    even = (*finite[:: max(len(finite) // 8, 1)], finite[-1])
    adjacent = (f for n in inside for f in finite if isinstance(f, int | float) and abs(f - n) <= 1)
    return tuple(dict.fromkeys((*even, *adjacent)))
