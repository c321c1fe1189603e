"""``--set a.b=c``: values given on the command line, put over those of the file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from autotune.errors import Mistake
from autotune.spec.document import Document, Path, Place
from autotune.spec.yaml import read

FILE = "--set"
"""The file that mistakes in overrides point to; the line is the number of the option."""

_LONG_FORMS: Mapping[Path, str] = {("executor",): "kind", ("sampler",): "kind"}
"""Sections that may be one word, and the key which that word stands for."""


def apply(document: Document, overrides: Sequence[str]) -> None:
    """Change ``document`` as the overrides say, in order. Mistakes in their form are recorded."""
    for number, text in enumerate(overrides, 1):
        name, sign, value = text.partition("=")
        start = Place(FILE, number, 1)
        parts = name.strip().split(".")
        given = read(value, FILE, line=number, column=len(name) + 2)
        if not sign or not all(parts):
            given = Document(None, start)
            given.add_error((), f"'{text}' is not of the form section.key=value")
        document.mistakes += given.mistakes
        if not given.mistakes:
            _put(document, parts, given, start)


def _put(document: Document, parts: Sequence[str], given: Document, start: Place) -> None:
    if not isinstance(document.data, dict):
        document.data = {}
    holder: Any = document.data
    path: Path = ()
    for part, following in itertools.pairwise((*parts, "")):
        key = _key(holder, part)
        if key is None:
            place = f"{'.'.join(map(str, path))} has no item {part}"
            document.mistakes.append(Mistake(start.file, start.line, start.column, place))
            return
        path = (*path, key)
        if following:
            holder = _enter(document, holder, path, following, start)
    holder[path[-1]] = given.data
    document.drop(path)
    document.keys[path] = start
    document.keys |= {(*path, *under): place for under, place in given.keys.items()}
    document.values[path] = given.start
    document.values |= {(*path, *under): place for under, place in given.values.items()}


def _key(holder: Any, part: str) -> str | int | None:
    """``part`` as a key of ``holder``, an index where that is a list; ``None`` beyond its end."""
    if not isinstance(holder, list):
        return part
    return int(part) if part.isdecimal() and int(part) < len(holder) else None


def _enter(document: Document, holder: Any, path: Path, following: str, start: Place) -> Any:
    """What ``following`` is to be set in: a short form makes way for the long one."""
    try:
        inside = holder[path[-1]]
    except KeyError:
        inside = None
    if isinstance(inside, dict) or (isinstance(inside, list) and following.isdecimal()):
        return inside
    word = _LONG_FORMS.get(path)
    holder[path[-1]] = {word: inside} if word and isinstance(inside, str) else {}
    document.keys.setdefault(path, start)
    document.values.setdefault(path, start)
    return holder[path[-1]]
