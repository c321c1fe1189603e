"""A study file as plain data that remembers where every key and value was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from autotune.errors import Mistake

Path = tuple[str | int, ...]
"""The way to a value: ``("space", "batch_size", 0)``."""


@dataclass(frozen=True)
class Place:
    """Where something was written, 1-based. ``indent`` is how far into a scalar its text starts:
    one past a quote, else nothing."""

    file: str
    line: int
    column: int
    indent: int = 0


@dataclass
class Document:
    """Plain data, the places of its keys and values, and the mistakes found so far."""

    data: Any
    start: Place
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def add_error(self, path: Path, message: str, *, key: bool = False, offset: int = 0) -> None:
        """Record a mistake at the value (or the key) at ``path``, or at the nearest one above it.

        Parts of the path that were never written, such as the names of long forms, are passed
        over. ``offset`` counts characters into the text of a scalar.
        """
        place = self.place(path, key=key)
        column = place.column + (place.indent + offset if offset else 0)
        self.mistakes.append(Mistake(place.file, place.line, column, message))

    def place(self, path: Path, *, key: bool = False) -> Place:
        found: Path = ()
        for part in path:
            if (*found, part) in self.values:
                found = (*found, part)
        own = self.values.get(found, self.start)
        return self.keys.get(found, own) if key else own

    def drop(self, path: Path) -> None:
        """Forget the places at and under ``path``."""
        for places in (self.keys, self.values):
            for known in [p for p in places if p[: len(path)] == path]:
                del places[known]

    def shift(self, path: Path) -> None:
        """Move the places of the items that follow the list item at ``path`` down by one."""
        depth, gone = len(path), int(path[-1])
        for places in (self.keys, self.values):
            after = {
                known: place
                for known, place in places.items()
                if known[: depth - 1] == path[:-1]
                and len(known) >= depth
                and int(known[depth - 1]) >= gone
            }
            for known in after:
                del places[known]
            for known, place in after.items():
                if known[depth - 1] != gone:
                    moved = int(known[depth - 1]) - 1
                    places[(*path[:-1], moved, *known[depth:])] = place


def nearest(word: object, names: Iterable[str]) -> str:
    """What to write instead of ``word``: the closest of ``names``, and all of them."""
    known = list(names)
    close = get_close_matches(str(word), known, 1)
    start = f"did you mean {close[0]}? " if close else ""
    return f"{start}valid: {', '.join(known)}"


def quote(value: object) -> str:
    """A value as it would be written in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"'{value}'" if isinstance(value, str) else f"{value}"
