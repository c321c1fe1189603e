"""Conditions that would exhaust the stack are mistakes."""

from __future__ import annotations

import pytest

from autotune.domain.expression import MAX_DEPTH, MAX_OPERATORS, parse
from autotune.errors import ExpressionError

DEEP = ["(" * 5000 + "a" + ")" * 5000, "not " * 5000 + "a", "-" * 5000 + "a > 1",
        "a in [" + "-" * 5000 + "1]"]  # fmt: skip
LONG = [sign.join(["a"] * 5000) for sign in (" and ", " or ", " + ", " * ")]


@pytest.mark.parametrize("text", DEEP)
def test_deep_nesting_is_a_mistake_with_a_column(text: str) -> None:
    with pytest.raises(ExpressionError, match="levels deep") as caught:
        parse(text, {"a"})
    assert caught.value.column > 0


@pytest.mark.parametrize("text", LONG)
def test_a_long_chain_is_a_mistake(text: str) -> None:
    with pytest.raises(ExpressionError, match="operators"):
        parse(text, {"a"})


def test_conditions_within_the_limits_are_evaluated() -> None:
    nested = "(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH
    assert parse(nested, {"a"}).holds({"a": 1})
    for sign in (" and ", " or ", " + "):
        assert parse(sign.join(["a"] * MAX_OPERATORS), {"a"}).holds({"a": 1})
    members = ", ".join(map(str, range(5000)))
    assert parse(f"a in [{members}]", {"a"}).holds({"a": 4999})
