"""Completing, checking, counting and enumerating a search space."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.domain import Categorical, Dimension, ForbiddenClause, Range, SearchSpace, Strategy
from autotune.domain import search_space as spaces
from autotune.domain.strategy import LATER_DEFAULTS, Value

DEFAULTS = {"ratio": 0.0, "method": "structured", "batch": 8, "micro": "full", "extra": 1}

SPACE = SearchSpace(
    dimensions=(
        Dimension("ratio", Categorical((0.0, 0.5))),
        Dimension("method", Categorical(("structured", "layers")), when="ratio > 0"),
        Dimension("batch", Categorical((8, 16))),
        Dimension("micro", Categorical(("full", 8))),
    ),
    defaults=DEFAULTS,
    rules=(ForbiddenClause("micro >= batch", "no accumulation"),),
)


def test_an_inactive_lever_has_its_default() -> None:
    inactive = spaces.complete(SPACE, {"ratio": 0.0, "method": "layers"})
    assert inactive["method"] == "structured"
    assert spaces.complete(SPACE, {"ratio": 0.5, "method": "layers"})["method"] == "layers"


def test_levers_that_are_not_searched_can_be_set() -> None:
    assert spaces.complete(SPACE, {"extra": 2})["extra"] == 2


def test_the_grid_has_every_strategy_once() -> None:
    strategies = list(spaces.grid(SPACE))
    assert len({s.key for s in strategies}) == len(strategies) == 3 * 3
    assert spaces.size(SPACE) == 9


def test_the_first_violated_rule_is_returned() -> None:
    rule = spaces.excluded(SPACE, Strategy({**DEFAULTS, "micro": 8}))
    assert rule is not None and rule.reason == "no accumulation"
    assert spaces.excluded(SPACE, Strategy({**DEFAULTS, "micro": 8, "batch": 16})) is None


def test_steps_are_exact_in_decimals() -> None:
    assert spaces.settings(Range(0.0, 0.3, step=0.1)) == (0.0, 0.1, 0.2, 0.3)
    assert spaces.settings(Range(1, 7, step=3, integer=True)) == (1, 4, 7)
    assert spaces.settings(Range(0.0, 1.0)) is None


def test_a_continuous_lever_has_evenly_spaced_values() -> None:
    assert spaces.grid_values(Range(1e-5, 1e-3, log=True), 3) == (1e-5, 1e-4, 1e-3)
    assert spaces.grid_values(Range(0.0, 1.0), 3) == (0.0, 0.5, 1.0)
    assert spaces.size(SearchSpace((Dimension("ratio", Range(0.0, 1.0)),), DEFAULTS)) is None


def test_a_search_compares_settings_that_can_be_told_apart() -> None:
    rates = candidate_values(Range(2e-5, 2e-3, log=True))
    assert (rates[0], rates[-1], len(rates)) == (2e-5, 2e-3, 21), "10 per decade"
    assert len(candidate_values(Range(0.0, 0.3))) == 16
    assert candidate_values(Range(0.0, 0.3, step=0.1)) == (0.0, 0.1, 0.2, 0.3)
    assert candidate_values(Categorical(("a", "b"))) == ("a", "b")


def candidate_values(domain: Categorical | Range, *named: float) -> tuple[Value, ...]:
    space = SearchSpace((Dimension("x", domain),), {"x": 1.0})
    return spaces.candidate_values(space, space.dimensions[0], [Strategy({"x": x}) for x in named])


def test_settings_that_are_named_replace_the_nearest() -> None:
    domain = Range(1e-5, 1e-3, log=True)
    rates, named = candidate_values(domain), candidate_values(domain, 2e-4, 1.02e-5, 5.0)
    assert {*named} - {*rates} == {2e-4} and {*rates} - {*named} == {1.995e-4}
    assert candidate_values(Range(0.0, 2.0))[8] == 1.0, "of the default"
    assert 1.0 in candidate_values(Range(0.99, 99.0, log=True)), "the default near an end"
    near = candidate_values(Range(0.0, 2.0), 1.02)
    assert 1.0 in near and 1.02 not in near, "the default rather than start_with"


def test_ends_are_exact_and_can_be_equal() -> None:
    domain = Range(1.23456e-5, 9.87654e-4, log=True)
    values = candidate_values(domain)
    assert (values[0], values[-1]) == (domain.low, domain.high)
    assert candidate_values(Range(5e-5, 5e-5, log=True)) == (5e-5,)


def test_rounding_keeps_a_setting_in_its_range() -> None:
    domain = Range(1.23446e-5, 9.87654e-4, log=True)
    assert all(spaces.contains(domain, value) for value in candidate_values(domain))


def test_size_stops_at_its_limit() -> None:
    wide = SearchSpace((Dimension("batch", Range(1, 1000, integer=True)),), DEFAULTS)
    assert spaces.size(wide, limit=10) == 10


def test_text_and_numbers_are_different_settings() -> None:
    assert not spaces.contains(Categorical(("1",)), 1)
    assert spaces.contains(Range(0.0, 1.0), 0.3)
    assert not spaces.contains(Range(0.0, 1.0), "0.3")
    assert not spaces.contains(Range(0.0, 1.0, step=0.25), 0.3)


@settings(deadline=None)
@given(st.integers(-30, 30), st.integers(0, 40), st.integers(1, 9), st.booleans(), st.data())
def test_a_range_contains_exactly_its_settings(
    low: int, width: int, step: int, integer: bool, data: st.DataObject
) -> None:
    unit = 1 if integer else 10
    domain = Range(low / unit, (low + width) / unit, step / unit, integer=integer)
    values = spaces.settings(domain)
    assert values is not None
    assert all(spaces.contains(domain, value) for value in values)
    other = data.draw(st.integers(-80, 80)) / (unit * 2)
    assert spaces.contains(domain, other) is (other in values)


VALUES = st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True).map(tuple)
WHEN = st.none() | st.integers(0, 3).map(lambda n: f"a > {n}")
RULE = st.tuples(st.sampled_from("abc"), st.integers(0, 4)).map(
    lambda pair: ForbiddenClause(f"{pair[0]} == {pair[1]}", "so")
)


@st.composite
def small_spaces(draw: st.DrawFn) -> SearchSpace:
    dimensions = (
        Dimension("a", Categorical(draw(VALUES))),
        Dimension("b", Categorical(draw(VALUES)), draw(WHEN)),
        Dimension("c", Categorical(draw(VALUES)), draw(WHEN)),
    )
    rules = draw(st.lists(RULE, max_size=2))
    return SearchSpace(dimensions, {"a": 9, "b": 9, "c": 9, "d": 9}, tuple(rules))


@settings(max_examples=60, deadline=None)
@given(small_spaces())
def test_every_strategy_of_the_grid_is_in_the_space(space: SearchSpace) -> None:
    strategies = list(spaces.grid(space))
    assert len({s.key for s in strategies}) == len(strategies) == spaces.size(space)
    for strategy in strategies:
        assert spaces.excluded(space, strategy) is None
        assert set(strategy) == {*space.defaults, *LATER_DEFAULTS}
        for dimension in space.dimensions:
            active = spaces.is_active(space, dimension, strategy.values)
            value = strategy[dimension.lever]
            assert spaces.contains(dimension.domain, value) if active else value == 9


@settings(max_examples=60, deadline=None)
@given(small_spaces(), st.fixed_dictionaries({name: st.integers(0, 4) for name in "abcd"}))
def test_completing_is_idempotent(space: SearchSpace, choices: dict[str, int]) -> None:
    once = spaces.complete(space, choices)
    assert spaces.complete(space, once.values) == once
    assert set(once) == {*space.defaults, *LATER_DEFAULTS}


def test_a_stored_strategy_without_later_levers_equals_one_that_has_their_defaults() -> None:
    stored = Strategy({"batch_size": 8})
    assert stored == stored.with_values(**LATER_DEFAULTS)
    assert stored.key == "fc046d91d2e2a564"
    assert stored.with_values(weight_decay=0.1).key != stored.key
