"""Parses YAML 1.2 into plain data with source locations.

PyYAML builds the node graph. Scalars are resolved here by the rules of YAML 1.2, so that ``1e-5``
is a number and ``on``, ``no`` and ``2024-01-01`` are text. Aliases, tags and deep nesting are
rejected: a study file does not need them, and an alias can expand a small file to gigabytes.

ruamel.yaml also reads YAML 1.2 and knows locations. It would be a dependency beside PyYAML, which
Ray and transformers require anyway, and would save little: it has no limits for aliases and depth,
stops at the first duplicate key, and gives no location inside of quoted scalars.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml
from yaml.error import Mark
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from autotune.domain.text import control_character, printable
from autotune.errors import Mistake, UsageError
from autotune.spec.document import Document, Path, SourceLocation, quote

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 24

_PREFIX = "tag:yaml.org,2002:"
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False,
             "FALSE": False}  # fmt: skip
_SCALARS = {
    "bool": r"true|True|TRUE|false|False|FALSE",
    "null": r"~|null|Null|NULL|",
    "int": r"[-+]?[0-9]{1,18}",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
}


class LimitedLoader(yaml.SafeLoader):
    """A safe loader that rejects aliases and deep nesting."""

    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        problem = "write the value out instead of *" if self.check_event(yaml.AliasEvent) else None
        problem = "nested too deep" if self.depth > MAX_DEPTH else problem
        if problem is not None:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        self.depth += 1
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Loader(LimitedLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern in _SCALARS.items():
    _Loader.add_implicit_resolver(_PREFIX + _tag, re.compile(f"^(?:{_pattern})$"), None)


def read(text: str, file: str, *, line: int = 1, column: int = 1) -> Document:
    """Parse one YAML document; syntax errors are recorded in the result. ``line`` and ``column``
    are the position of ``text`` in ``file``."""
    reader = _Reader(Document(None, SourceLocation(file, line, column)))
    if len(text) > MAX_CHARACTERS:
        reader.document.add_error((), f"longer than {MAX_CHARACTERS:,} characters")
        return reader.document
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        mark = Mark(file, 0, before.count("\n"), len(before.split("\n")[-1]), None, 0)
        reader.add_error(mark, f"character {error.character!r} is not allowed in YAML")
    except yaml.MarkedYAMLError as error:
        problem = (error.problem or "cannot be read").replace("'\\t'", "a tab (indent with spaces)")
        reader.add_error(error.problem_mark or error.context_mark, f"not valid YAML: {problem}")
    else:
        if node is not None:
            reader.document.data = reader.value(node, ())
    return reader.document


def write(data: Mapping[str, Any]) -> str:
    """``data`` as YAML that :func:`read` turns into ``data`` again. PyYAML would write the texts
    ``12e4567`` and ``on`` without quotes, by the rules of YAML 1.1.

    :raises UsageError: a value is neither text, number, list nor mapping.
    """
    return write_value(data, indent=2) + "\n"


def write_value(value: Any, indent: int | None = None) -> str:
    """``value`` as YAML, on one line unless there is an ``indent``. Raises as :func:`write`."""
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"a study has a value that no file can have: {error}",
            hint="use text, numbers, lists and dictionaries, and str(path) for a path",
        ) from error
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def write_scalar(text: str) -> str:
    """``text`` as a scalar of YAML: in quotes unless it is a plain word."""
    if re.fullmatch(r"[A-Za-z][\w.-]*", text, re.ASCII) and read(text, "").data == text:
        return text
    return write_value(text)


class _Reader:
    """Converts nodes to data; locations and mistakes go to ``document``."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def location(self, mark: Mark | None, indent: int = 0) -> SourceLocation:
        start = self.document.start
        if mark is None:
            return start
        column = mark.column + (start.column if mark.line == 0 else 1)
        return SourceLocation(start.file, start.line + mark.line, column, indent)

    def add_error(self, mark: Mark | None, message: str) -> None:
        location = self.location(mark)
        mistake = Mistake(location.file, location.line, location.column, message)
        self.document.mistakes.append(mistake)

    def value(self, node: Node, path: Path) -> Any:
        is_quoted = isinstance(node, ScalarNode) and node.style in ("'", '"')
        self.document.values[path] = self.location(node.start_mark, int(is_quoted))
        if isinstance(node, MappingNode) and node.tag == f"{_PREFIX}map":
            return self.mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == f"{_PREFIX}seq":
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            self.check_characters(node)
        if isinstance(node, ScalarNode) and node.tag.removeprefix(_PREFIX) in (*_SCALARS, "str"):
            scalar = _scalar(node.tag.removeprefix(_PREFIX), node.value)
            if isinstance(scalar, bool | int | float):
                location = self.document.values[path]
                self.document.values[path] = replace(location, text=node.value)
            return scalar
        message = f"tags such as {node.tag} have no meaning in a study file"
        self.add_error(node.start_mark, message)
        return _scalar("str", str(node.value))

    def check_characters(self, node: ScalarNode) -> None:
        """Record a mistake for characters that only escapes such as ``"\\e"`` can write, and
        remove them, so that no message repeats them."""
        if (character := control_character(node.value)) is not None:
            message = f"text with the control character {character}; remove it"
            self.add_error(node.start_mark, message)
            node.value = printable(node.value)

    def mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                message = "a key must be a word, not a list or a mapping"
                self.add_error(key_node.start_mark, message)
                continue
            self.check_characters(key_node)
            key = key_node.value
            if key in data:
                first = self.document.keys[(*path, key)].line
                message = f"{quote(key)} is given twice (first at line {first})"
                self.add_error(key_node.start_mark, message)
                continue
            self.document.keys[(*path, key)] = self.location(key_node.start_mark)
            data[key] = self.value(value_node, (*path, key))
        return data


def _scalar(tag: str, text: str) -> bool | int | float | str | None:
    if tag == "bool":
        return _BOOLEANS.get(text, text)
    if tag == "null":
        return None
    try:
        return int(text) if tag == "int" else float(text) if tag == "float" else text
    except ValueError:
        return text
