"""``--set section.key=value``: command-line values that replace values of the study file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from autotune.errors import Mistake
from autotune.spec.document import Document, Path, SourceLocation
from autotune.spec.yaml import read

FILE = "--set"
"""The file name in mistakes of overrides; the line is the number of the option."""

_SHORT_FORM_KEYS: Mapping[Path, str] = {("executor",): "kind", ("sampler",): "kind"}
"""Sections that can be a single word, and the key that this word is short for."""


def apply(document: Document, overrides: Sequence[str]) -> None:
    """Apply the overrides to ``document`` in order. Syntax errors in them are recorded."""
    for number, text in enumerate(overrides, 1):
        name, sign, value_text = text.partition("=")
        location = SourceLocation(FILE, number, 1)
        keys = name.strip().split(".")
        value = read(value_text, FILE, line=number, column=len(name) + 2)
        if not sign or not all(keys):
            value = Document(None, location)
            value.add_error((), f"'{text}' is not of the form section.key=value")
        document.mistakes += value.mistakes
        if not value.mistakes:
            _set(document, keys, value, location)


def _set(
    document: Document, keys: Sequence[str], value: Document, location: SourceLocation
) -> None:
    if not isinstance(document.data, dict):
        document.data = {}
    container: Any = document.data
    path: Path = ()
    for text, next_key in itertools.pairwise((*keys, "")):
        key = _key(container, text)
        if key is None:
            message = f"{'.'.join(map(str, path))} has no item {text}"
            document.mistakes.append(
                Mistake(location.file, location.line, location.column, message)
            )
            return
        path = (*path, key)
        if next_key:
            container = _open_section(document, container, path, next_key, location)
    container[path[-1]] = value.data
    document.forget(path)
    document.keys[path] = location
    document.keys |= {(*path, *inner): source for inner, source in value.keys.items()}
    document.values[path] = value.start
    document.values |= {(*path, *inner): source for inner, source in value.values.items()}


def _key(container: Any, text: str) -> str | int | None:
    """``text`` as a key of a mapping or an index of a list; ``None`` beyond the end of a list."""
    if not isinstance(container, list):
        return text
    return int(text) if text.isdecimal() and int(text) < len(container) else None


def _open_section(
    document: Document, container: Any, path: Path, next_key: str, location: SourceLocation
) -> Any:
    """The mapping or list at ``path`` in which ``next_key`` is set. A short form is replaced by the
    long one, and anything else by an empty mapping."""
    try:
        section = container[path[-1]]
    except KeyError:
        section = None
    if isinstance(section, dict) or (isinstance(section, list) and next_key.isdecimal()):
        return section
    key = _SHORT_FORM_KEYS.get(path)
    container[path[-1]] = {key: section} if key and isinstance(section, str) else {}
    document.keys.setdefault(path, location)
    document.values.setdefault(path, location)
    return container[path[-1]]
