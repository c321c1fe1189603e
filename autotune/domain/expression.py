"""The language of conditions and rules: ``pruning_ratio > 0 and device == cuda``.

Grammar, lowest precedence first::

    expression  := conjunction ('or' conjunction)*
    conjunction := negation ('and' negation)*
    negation    := 'not' negation | comparison
    comparison  := sum (('==' | '!=' | '<' | '<=' | '>' | '>=') sum | 'in' list)?
    sum         := product (('+' | '-') product)*
    product     := atom (('*' | '/' | '%') atom)*
    atom        := number | word | 'quoted text' | '(' expression ')' | '-' atom
    list        := '[' atom (',' atom)* ']'

A word is a variable if a variable has this name, a boolean if it is ``true`` or ``false``, and text
otherwise. Text equals its family: ``device == cuda`` holds for ``cuda:0``, and ``parallelism ==
ddp`` and ``parallelism == tp`` hold for ``ddp:2 x tp:2``. An order comparison of text with a number
is false and never an error, so that a condition cannot break a running search.

The parser is written by hand because Python's ``ast.parse`` rejects settings such as ``cuda:0`` and
``ddp:2``, and cannot say in words what it expected at which column.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from autotune.domain.strategy import Value
from autotune.domain.text import closest
from autotune.errors import ExpressionError

MAX_OPERATORS, MAX_DEPTH = 100, 24
"""Limits of one expression, far below the limit of Python's stack, of which parsing takes a part
per level and evaluation a part per operator."""

Variables = Mapping[str, Value]
Evaluator = Callable[[Variables], Value]

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)(?![\w:])
      |(?P<word>[A-Za-z_][\w:]*)
      |(?P<text>'[^']*'|"[^"]*")
      |(?P<sign>==|!=|<=|>=|[<>()\[\],+*/%-]))""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """``kind`` is a group of the regular expression, or ``end``; ``column`` is 0-based."""

    kind: str
    text: str
    column: int


@dataclass(frozen=True)
class Expression:
    """A parsed expression. ``names`` are the variables that it reads."""

    text: str
    names: frozenset[str]
    evaluate: Evaluator

    def holds(self, variables: Variables) -> bool:
        return bool(self.evaluate(variables))


def parse(text: str, variables: Collection[str]) -> Expression:
    """Parse ``text`` with the names of the ``variables``. Raises :class:`ExpressionError`."""
    return _parse(text, frozenset(variables))


@lru_cache(maxsize=4096)
def _parse(text: str, variables: frozenset[str]) -> Expression:
    parser = _Parser(_tokens(text), variables, text)
    evaluate = parser.disjunction()
    parser.expect_end()
    if not parser.names:
        raise ExpressionError(f"'{text}' names no variable", hint=_hint(parser.words, variables))
    return Expression(text, frozenset(parser.names), evaluate)


def _hint(words: Collection[str], variables: Collection[str]) -> str:
    for word in words:
        if match := closest(word, variables):
            return f"did you mean {match}?"
    return f"valid names: {', '.join(sorted(variables))}"


def _tokens(text: str) -> list[Token]:
    tokens, position = [], 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            column = position + len(text[position:]) - len(text[position:].lstrip())
            raise ExpressionError(f"cannot read '{text[column:]}' in '{text}'", column=column)
        kind = str(match.lastgroup)
        tokens.append(Token(kind, match.group(kind), match.start(kind)))
        position = match.end()
    return [*tokens, Token("end", "", len(text))]


def _equal(left: Value, right: Value) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left == right or right in _families(left) or left in _families(right)
    if isinstance(left, str) or isinstance(right, str):
        return False
    return left == right


def _families(text: str) -> list[str]:
    return [component.split(":")[0] for component in text.split(" x ")]


def _ordered(compare: Callable[[float, float], bool]) -> Callable[[Value, Value], bool]:
    def compare_values(left: Value, right: Value) -> bool:
        if isinstance(left, str) or isinstance(right, str):
            return False
        return compare(left, right)

    return compare_values


def _arithmetic(apply: Callable[[float, float], float]) -> Callable[[Value, Value], Value]:
    def apply_to_values(left: Value, right: Value) -> Value:
        if isinstance(left, str) or isinstance(right, str):
            return "undefined"
        try:
            return apply(left, right)
        except ZeroDivisionError:
            return "undefined"

    return apply_to_values


_COMPARISONS: Mapping[str, Callable[[Value, Value], bool]] = {
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
}
_SUMS = {"+": _arithmetic(operator.add), "-": _arithmetic(operator.sub)}
_PRODUCTS = {
    "*": _arithmetic(operator.mul),
    "/": _arithmetic(operator.truediv),
    "%": _arithmetic(operator.mod),
}


def _combine(
    left: Evaluator, right: Evaluator, combine: Callable[[Iterable[Value]], bool]
) -> Evaluator:
    return lambda v: combine(evaluate(v) for evaluate in (left, right))


def _apply(
    function: Callable[[Value, Value], Value], left: Evaluator, right: Evaluator
) -> Evaluator:
    return lambda v: function(left(v), right(v))


class _Parser:
    """A recursive-descent parser with one method per line of the grammar. It builds closures; no
    Python source is evaluated."""

    def __init__(self, tokens: list[Token], variables: frozenset[str], text: str) -> None:
        self.tokens, self.variables, self.text = tokens, variables, text
        self.index = 0
        self.depth = 0
        self.operators = 0
        self.names: set[str] = set()
        """Variables in the expression."""
        self.words: list[str] = []
        """Other words in the expression."""

    def peek(self) -> Token:
        return self.tokens[self.index]

    def take(self, *texts: str) -> Token | None:
        """Consume the next token if it is one of ``texts``."""
        token = self.peek()
        if token.kind not in ("sign", "word") or token.text not in texts:
            return None
        self.index += 1
        return token

    def count_operator(self) -> None:
        """Count one more operator, which adds a level to the evaluation."""
        self.operators += 1
        if self.operators > MAX_OPERATORS:
            message = f"more than {MAX_OPERATORS} operators in one condition"
            raise ExpressionError(message, column=self.peek().column)

    def parse_nested(self, parse: Callable[[], Evaluator]) -> Evaluator:
        """What ``parse`` reads one level deeper."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} levels deep"
            raise ExpressionError(message, column=self.peek().column)
        evaluate = parse()
        self.depth -= 1
        return evaluate

    def error(self, expected: str) -> ExpressionError:
        token = self.peek()
        actual = f"'{token.text}'" if token.text else "the end"
        message = f"expected {expected}, found {actual} in '{self.text}'"
        return ExpressionError(message, column=token.column)

    def expect(self, text: str) -> None:
        if self.take(text) is None:
            raise self.error(f"'{text}'")

    def expect_end(self) -> None:
        if self.peek().kind != "end":
            raise self.error("an operator")

    def disjunction(self) -> Evaluator:
        evaluate = self.conjunction()
        while self.take("or"):
            self.count_operator()
            evaluate = _combine(evaluate, self.conjunction(), any)
        return evaluate

    def conjunction(self) -> Evaluator:
        evaluate = self.negation()
        while self.take("and"):
            self.count_operator()
            evaluate = _combine(evaluate, self.negation(), all)
        return evaluate

    def negation(self) -> Evaluator:
        if self.take("not"):
            negated = self.parse_nested(self.negation)
            return lambda v: not negated(v)
        return self.comparison()

    def comparison(self) -> Evaluator:
        left = self.binary(self.product, _SUMS)
        if self.take("in"):
            members = self.members()
            return lambda v: any(_equal(left(v), member(v)) for member in members)
        sign = self.take(*_COMPARISONS)
        if sign is None:
            return left
        right, compare = self.binary(self.product, _SUMS), _COMPARISONS[sign.text]
        return lambda v: compare(left(v), right(v))

    def product(self) -> Evaluator:
        return self.binary(self.atom, _PRODUCTS)

    def binary(
        self,
        operand: Callable[[], Evaluator],
        operators: Mapping[str, Callable[[Value, Value], Value]],
    ) -> Evaluator:
        evaluate = operand()
        while sign := self.take(*operators):
            self.count_operator()
            evaluate = _apply(operators[sign.text], evaluate, operand())
        return evaluate

    def members(self) -> list[Evaluator]:
        self.expect("[")
        members = [self.atom()]
        while self.take(","):
            members.append(self.atom())
        self.expect("]")
        return members

    def atom(self) -> Evaluator:
        if self.take("("):
            evaluate = self.parse_nested(self.disjunction)
            self.expect(")")
            return evaluate
        if self.take("-"):
            negated = self.parse_nested(self.atom)
            return lambda v: _SUMS["-"](0, negated(v))
        token = self.peek()
        if token.kind not in ("number", "word", "text"):
            raise self.error("a name or a value")
        self.index += 1
        return self.leaf(token)

    def leaf(self, token: Token) -> Evaluator:
        if token.kind == "word" and token.text in self.variables:
            self.names.add(token.text)
            return lambda v: v[token.text]
        constant: Value = token.text.strip("'\"")
        if token.kind == "number":
            constant = float(token.text)
        elif token.text in ("true", "false"):
            constant = token.text == "true"
        elif token.kind == "word":
            self.words.append(token.text)
        return lambda v: constant
