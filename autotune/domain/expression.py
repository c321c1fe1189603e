"""A small language for conditions and rules: ``pruning_ratio > 0 and device == cuda``.

Grammar, loosest binding first::

    expression  := conjunction ('or' conjunction)*
    conjunction := negation ('and' negation)*
    negation    := 'not' negation | comparison
    comparison  := sum (('==' | '!=' | '<' | '<=' | '>' | '>=') sum | 'in' list)?
    sum         := product (('+' | '-') product)*
    product     := atom (('*' | '/' | '%') atom)*
    atom        := number | word | 'quoted text' | '(' expression ')' | '-' atom
    list        := '[' atom (',' atom)* ']'

A word that names a variable is that variable; ``true`` and ``false`` are themselves; any other word
is text. Text is equal to its own family: ``device == cuda`` holds for ``cuda:0``, and both
``parallelism == ddp`` and ``parallelism == tp`` for ``ddp:2 x tp:2``. Comparing text with a number
by order is false, never an error, so that a condition cannot break a running search.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

from autotune.domain.strategy import Value
from autotune.errors import ExpressionError

Variables = Mapping[str, Value]
Node = Callable[[Variables], Value]

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)(?![\w:])
      |(?P<word>[A-Za-z_][\w:]*)
      |(?P<text>'[^']*'|"[^"]*")
      |(?P<sign>==|!=|<=|>=|[<>()\[\],+*/%-]))""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    column: int


@dataclass(frozen=True)
class Expression:
    """A parsed expression. ``names`` are the variables it reads."""

    text: str
    names: frozenset[str]
    node: Node

    def holds(self, variables: Variables) -> bool:
        """Whether the expression is true for these variables."""
        return bool(self.node(variables))


def parse(text: str, variables: Collection[str]) -> Expression:
    """Read ``text``; words in ``variables`` are variables. Raises :class:`ExpressionError`."""
    return _parse(text, frozenset(variables))


@lru_cache(maxsize=4096)
def _parse(text: str, variables: frozenset[str]) -> Expression:
    parser = _Parser(_tokens(text), variables, text)
    node = parser.disjunction()
    parser.expect_end()
    if not parser.names:
        raise ExpressionError(f"'{text}' names no variable", hint=_nearest(parser.words, variables))
    return Expression(text, frozenset(parser.names), node)


def _nearest(words: Collection[str], variables: Collection[str]) -> str:
    close = [match for word in words for match in get_close_matches(word, variables, 1)]
    return f"did you mean {close[0]}?" if close else f"valid names: {', '.join(sorted(variables))}"


def _tokens(text: str) -> list[Token]:
    tokens, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            column = place + len(text[place:]) - len(text[place:].lstrip())
            raise ExpressionError(f"cannot read '{text[column:]}' in '{text}'", column=column)
        kind = str(match.lastgroup)
        tokens.append(Token(kind, match.group(kind), match.start(kind)))
        place = match.end()
    return [*tokens, Token("end", "", len(text))]


def _equal(left: Value, right: Value) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left == right or right in _families(left) or left in _families(right)
    if isinstance(left, str) or isinstance(right, str):
        return False
    return left == right


def _families(text: str) -> list[str]:
    return [part.split(":")[0] for part in text.split(" x ")]


def _ordered(compare: Callable[[float, float], bool]) -> Callable[[Value, Value], bool]:
    def safe(left: Value, right: Value) -> bool:
        if isinstance(left, str) or isinstance(right, str):
            return False
        return compare(left, right)

    return safe


def _arithmetic(apply: Callable[[float, float], float]) -> Callable[[Value, Value], Value]:
    def safe(left: Value, right: Value) -> Value:
        if isinstance(left, str) or isinstance(right, str):
            return "undefined"
        try:
            return apply(left, right)
        except ZeroDivisionError:
            return "undefined"

    return safe


_COMPARE: Mapping[str, Callable[[Value, Value], bool]] = {
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


def _joined(left: Node, right: Node, join: Callable[[Iterable[Value]], bool]) -> Node:
    return lambda v: join(node(v) for node in (left, right))


def _applied(apply: Callable[[Value, Value], Value], left: Node, right: Node) -> Node:
    return lambda v: apply(left(v), right(v))


class _Parser:
    """Recursive descent, one method a grammar line; builds closures, never source text."""

    def __init__(self, tokens: list[Token], variables: frozenset[str], text: str) -> None:
        self.tokens, self.variables, self.text = tokens, variables, text
        self.place = 0
        self.names: set[str] = set()
        self.words: list[str] = []

    def peek(self) -> Token:
        return self.tokens[self.place]

    def take(self, *texts: str) -> Token | None:
        token = self.peek()
        if token.kind not in ("sign", "word") or token.text not in texts:
            return None
        self.place += 1
        return token

    def fail(self, wanted: str) -> ExpressionError:
        token = self.peek()
        found = f"'{token.text}'" if token.text else "the end"
        return ExpressionError(
            f"expected {wanted}, found {found} in '{self.text}'", column=token.column
        )

    def expect(self, text: str) -> None:
        if self.take(text) is None:
            raise self.fail(f"'{text}'")

    def expect_end(self) -> None:
        if self.peek().kind != "end":
            raise self.fail("an operator")

    def disjunction(self) -> Node:
        node = self.conjunction()
        while self.take("or"):
            node = _joined(node, self.conjunction(), any)
        return node

    def conjunction(self) -> Node:
        node = self.negation()
        while self.take("and"):
            node = _joined(node, self.negation(), all)
        return node

    def negation(self) -> Node:
        if self.take("not"):
            inner = self.negation()
            return lambda v: not inner(v)
        return self.comparison()

    def comparison(self) -> Node:
        left = self.binary(self.product, _SUMS)
        if self.take("in"):
            members = self.members()
            return lambda v: any(_equal(left(v), member(v)) for member in members)
        sign = self.take(*_COMPARE)
        if sign is None:
            return left
        right, compare = self.binary(self.product, _SUMS), _COMPARE[sign.text]
        return lambda v: compare(left(v), right(v))

    def product(self) -> Node:
        return self.binary(self.atom, _PRODUCTS)

    def binary(
        self, operand: Callable[[], Node], table: Mapping[str, Callable[[Value, Value], Value]]
    ) -> Node:
        node = operand()
        while sign := self.take(*table):
            node = _applied(table[sign.text], node, operand())
        return node

    def members(self) -> list[Node]:
        self.expect("[")
        members = [self.atom()]
        while self.take(","):
            members.append(self.atom())
        self.expect("]")
        return members

    def atom(self) -> Node:
        if self.take("("):
            node = self.disjunction()
            self.expect(")")
            return node
        if self.take("-"):
            inner = self.atom()
            return lambda v: _SUMS["-"](0, inner(v))
        token = self.peek()
        if token.kind not in ("number", "word", "text"):
            raise self.fail("a name or a value")
        self.place += 1
        return self.leaf(token)

    def leaf(self, token: Token) -> Node:
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
