"""A study file as plain data, with the source location of every key and value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autotune.errors import Mistake

Path = tuple[str | int, ...]
"""Keys and indices that lead to a value: ``("space", "batch_size", 0)``."""


@dataclass(frozen=True)
class SourceLocation:
    """A 1-based position in a file. ``indent`` is the number of characters between the start of a
    scalar and its text: 1 for a quoted scalar. ``text`` is a number or a truth value as the file
    spells it, for the keys that are text whatever it looks like."""

    file: str
    line: int
    column: int
    indent: int = 0
    text: str | None = None


@dataclass
class Document:
    """``data``, the locations of its keys and values by path, and the mistakes so far."""

    data: Any
    start: SourceLocation
    keys: dict[Path, SourceLocation] = field(default_factory=dict)
    values: dict[Path, SourceLocation] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def add_error(self, path: Path, message: str, *, key: bool = False, offset: int = 0) -> None:
        """Record a mistake at the value (or the key) at ``path``, or at the closest parent that
        the file spells out. ``offset`` counts characters into the text of a scalar."""
        location = self.location(path, key=key)
        column = location.column + (location.indent + offset if offset else 0)
        self.mistakes.append(Mistake(location.file, location.line, column, message))

    def location(self, path: Path, *, key: bool = False) -> SourceLocation:
        """Where ``path`` is written. Parts that are not in the file, such as the key of a short
        form, are skipped."""
        written: Path = ()
        for part in path:
            if (*written, part) in self.values:
                written = (*written, part)
        value = self.values.get(written, self.start)
        return self.keys.get(written, value) if key else value

    def forget(self, path: Path) -> None:
        """Remove the locations at and under ``path``."""
        for locations in (self.keys, self.values):
            for other in [p for p in locations if p[: len(path)] == path]:
                del locations[other]

    def remove_item(self, path: Path) -> None:
        """Remove the locations of the list item at ``path`` and renumber the items after it."""
        parent, removed = path[:-1], int(path[-1])
        for locations in (self.keys, self.values):
            following = {
                other: location
                for other, location in locations.items()
                if len(other) >= len(path)
                and other[: len(parent)] == parent
                and int(other[len(parent)]) >= removed
            }
            for other in following:
                del locations[other]
            for other, location in following.items():
                index = int(other[len(parent)])
                if index != removed:
                    locations[(*parent, index - 1, *other[len(path) :])] = location


def quote(value: object) -> str:
    """A value as the file would spell it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"'{value}'" if isinstance(value, str) else f"{value}"
