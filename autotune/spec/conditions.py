"""Whether conditions and rules leave anything to search."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from difflib import get_close_matches
from itertools import islice, pairwise

from autotune.domain import Categorical, Dimension, Range, SearchSpace, Value, expression
from autotune.domain.search_space import excluded, grid, grid_values, settings
from autotune.levers import LEVERS
from autotune.levers.base import Pattern

MAX_COMBINATIONS = 20_000
"""Beyond this many combinations a condition is given the benefit of the doubt."""

_NUMBER = re.compile(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"""'[^']*'|"[^"]*"|(?<![\w.])[A-Za-z_][\w:]*""")
_KEYWORDS = frozenset({"and", "or", "not", "in", "true", "false"})


def can_hold(text: str, space: SearchSpace) -> bool:
    """Whether some strategy of the space, rules aside, makes the expression ``text`` true."""
    condition = expression.parse(text, space.defaults.keys())
    sample = _sample(space, condition.names, text)
    seen = 0
    for strategy in islice(grid(sample), MAX_COMBINATIONS):
        seen += 1
        if condition.holds(strategy.values):
            return True
    return seen == MAX_COMBINATIONS


def anything_left(space: SearchSpace) -> bool:
    """Whether the rules leave a strategy to try."""
    names: set[str] = set()
    for rule in space.rules:
        names |= expression.parse(rule.excludes, space.defaults.keys()).names
    sample = _sample(space, names, " ; ".join(rule.excludes for rule in space.rules))
    if math.prod(len(grid_values(d.domain, 1)) for d in sample.dimensions) > MAX_COMBINATIONS:
        return True
    return any(excluded(space, strategy) is None for strategy in grid(sample))


def unknown_names(text: str, names: Collection[str]) -> list[tuple[int, str, str]]:
    """Words that are no setting of any lever that the expression ``names``, as
    ``(column, word, nearest setting)``; the latter is empty where none is near."""
    known = [word for name in names for word in _words(name)]
    found = []
    for match in _WORD.finditer(text):
        word = match.group().strip("'\"")
        legal = word in known or any(_is_setting(name, word) for name in names)
        if word not in _KEYWORDS and word not in names and not legal:
            close = get_close_matches(word, known, 1)
            found.append((match.start(), word, close[0] if close else ""))
    return found


def _words(name: str) -> list[str]:
    domain = LEVERS[name].domain
    listed = (
        [v for v in domain.values if isinstance(v, str)] if isinstance(domain, Categorical) else []
    )
    if isinstance(domain, Pattern):
        listed = [w for example in domain.example.split(", ") for w in (example.split(":")[0],)]
    return [*listed, *LEVERS[name].named_values]


def _is_setting(name: str, word: str) -> bool:
    return LEVERS[name].is_legal(word)


def _sample(space: SearchSpace, names: Collection[str], text: str) -> SearchSpace:
    """The dimensions that ``names`` depend on, long ones cut to the places that matter: ends,
    even steps between, and around each number that the expressions mention."""
    wanted, texts = set(names), [text]
    for dimension in reversed(space.dimensions):
        if dimension.lever in wanted and dimension.when is not None:
            wanted |= expression.parse(dimension.when, space.defaults.keys()).names
            texts.append(dimension.when)
    numbers = sorted({float(n) for n in _NUMBER.findall(" ; ".join(texts))})
    dimensions = (
        Dimension(d.lever, Categorical(_places(d.domain, numbers)), d.when)
        for d in space.dimensions
        if d.lever in wanted
    )
    return SearchSpace(tuple(dimensions), space.defaults)


def _places(domain: Categorical | Range, numbers: list[float]) -> tuple[Value, ...]:
    finite = settings(domain)
    if isinstance(domain, Categorical) or (finite is not None and len(finite) <= 32):
        return finite or ()
    near = [*numbers, *(sum(pair) / 2 for pair in pairwise(numbers))]
    inside = [n for n in near if domain.low <= n <= domain.high]
    if finite is not None:
        inside = [
            f for n in inside for f in finite if isinstance(f, int | float) and abs(f - n) <= 1
        ]
        even = (*finite[:: max(len(finite) // 8, 1)], finite[-1])
    else:
        even = grid_values(domain, 9)
    return tuple(dict.fromkeys((*even, *inside)))
