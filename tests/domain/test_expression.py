"""Parsing and evaluation of conditions and rules."""

from __future__ import annotations

from collections.abc import Callable
from operator import eq, ge, gt, le, lt, ne

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.domain.expression import parse
from autotune.errors import ExpressionError

VARIABLES = {"batch": 16, "ratio": 0.5, "device": "cuda:0", "fast": True, "kind": "full"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch == 16", True),
        ("batch != 16", False),
        ("batch % 3 == 1", True),
        ("batch * 2 + 1 == 33", True),
        ("batch - 2 * 4 == 8", True),
        ("(batch - 2) * 4 == 56", True),
        ("-batch < 0", True),
        ("ratio >= .5 and ratio <= 5e-1", True),
        ("device == cuda", True),
        ("device == cuda:0", True),
        ("device == cuda:1", False),
        ("device in [cpu, 'cuda:0']", True),
        ("device in [cpu, mps]", False),
        ("not device == cpu", True),
        ("fast", True),
        ("fast == true", True),
        ("not fast", False),
        ("fast == false or batch > 8", True),
        ("fast == false or batch > 8 and ratio > 1", False),
        ("(fast == true or batch > 8) and ratio > 1", False),
        ("kind >= 4", False),
        ("kind < 4", False),
        ("kind == 4", False),
        ("batch % kind > 0", False),
        ("batch / 0 > 1", False),
        ("batch / 0 < 1", False),
        ("kind == 'full'", True),
    ],
)
def test_values(text: str, expected: bool) -> None:
    assert parse(text, VARIABLES).holds(VARIABLES) is expected


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("batch >", 7, "expected a name or a value, found the end"),
        ("batch > 1 ratio", 10, "expected an operator, found 'ratio'"),
        ("(batch > 1", 10, "expected ')'"),
        ("batch in 8", 9, "expected '['"),
        ("batch in [8 9]", 12, "expected ']'"),
        ("batch = 8", 6, "cannot read '= 8'"),
        ("batch & 8", 6, "cannot read '& 8'"),
        ("batch > 8x", 8, "cannot read '8x'"),
        ("", 0, "expected a name or a value"),
        ("1 == 1", 0, "names no variable"),
    ],
)
def test_errors_have_a_column(text: str, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text, VARIABLES)
    assert caught.value.column == column
    assert message in caught.value.message


def test_a_misspelt_variable_gets_a_hint() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("bacth > 8", VARIABLES)
    assert caught.value.hint == "did you mean batch?"


def test_names_are_the_variables_in_the_expression() -> None:
    assert parse("batch > 8 and device == cuda", VARIABLES).names == {"batch", "device"}


NUMBER = st.integers(-50, 50)
NAME = st.sampled_from(["a", "b", "c"])
COMPARE = {"<": lt, "<=": le, "==": eq, "!=": ne, ">": gt, ">=": ge}

Oracle = tuple[str, Callable[[dict[str, int]], bool]]
"""An expression and a Python function that evaluates it."""


def _comparison(parts: tuple[str, str, int]) -> Oracle:
    name, sign, number = parts
    return f"{name} {sign} {number}", lambda v: bool(COMPARE[sign](v[name], number))


def _combination(parts: tuple[Oracle, str, Oracle]) -> Oracle:
    (left, a), word, (right, b) = parts
    evaluate = (lambda v: a(v) and b(v)) if word == "and" else (lambda v: a(v) or b(v))
    return f"({left}) {word} ({right})", evaluate


EXPRESSION = st.recursive(
    st.tuples(NAME, st.sampled_from(sorted(COMPARE)), NUMBER).map(_comparison),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(_combination),
        inner.map(lambda one: (f"not ({one[0]})", lambda v: not one[1](v))),
    ),
    max_leaves=8,
)
SETTINGS = st.fixed_dictionaries(dict.fromkeys("abc", NUMBER))


@given(EXPRESSION, SETTINGS)
def test_results_equal_those_of_python(oracle: Oracle, settings: dict[str, int]) -> None:
    text, evaluate = oracle
    assert parse(text, settings).holds(settings) is evaluate(settings)


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_raises_an_expression_error(text: str) -> None:
    try:
        expression = parse(text, VARIABLES)
    except ExpressionError as error:
        assert 0 <= error.column <= len(text)
    else:
        assert isinstance(expression.holds(VARIABLES), bool)
