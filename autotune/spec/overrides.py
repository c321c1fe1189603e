"""``--set section.key=value``: command-line values that replace values of the study file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from autotune.errors import Mistake, SpecError
from autotune.spec.document import Document, Path, SourceLocation
from autotune.spec.yaml import read, write_value

FILE = "--set"
"""The file name in mistakes of overrides; the line is the number of the option."""

_SHORT_FORM_KEYS = {"executor": "kind", "sampler": "kind", "keep": "models"}
"""Sections that can be a single word, and the key that this word is short for."""

_SHORT_ITEM_KEYS = {"objectives": "metric", "rules": "exclude"}
"""Lists whose items can be a single text, and the key that it is short for."""


def apply(document: Document, overrides: Sequence[str]) -> None:
    """Apply the overrides to ``document`` in order. Syntax errors in them are recorded."""
    for number, text in enumerate(overrides, 1):
        name, value = _parse(text, number)
        document.mistakes += value.mistakes
        if not value.mistakes:
            _set(document, name.split("."), value, SourceLocation(FILE, number, 1))


def read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """The values of overrides by their names, in order; of several of one name the last.

    :raises SpecError: with the mistakes of all.
    """
    parsed = [_parse(text, number) for number, text in enumerate(overrides, 1)]
    if mistakes := [mistake for _, value in parsed for mistake in value.mistakes]:
        raise SpecError(mistakes)
    values: dict[str, Any] = {}
    for name, value in parsed:
        values.pop(name, None)
        values[name] = value.data
    return values


def write_overrides(settings: Mapping[str, Any]) -> list[str]:
    """``{"task.epochs": 3}`` as overrides.

    :raises UsageError: a value is none that a study file can have.
    """
    return [f"{name}={write_value(value)}" for name, value in settings.items()]


def _parse(text: str, number: int) -> tuple[str, Document]:
    """The name and the value of override ``number``; its mistakes are those of the value."""
    name, sign, value_text = text.partition("=")
    value = read(value_text, FILE, line=number, column=len(name) + 2)
    if not sign or not all(name.strip().split(".")):
        value = Document(None, SourceLocation(FILE, number, 1))
        value.add_error((), f"'{text}' is not of the form section.key=value")
    return name.strip(), value


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


def _short_form_key(path: Path, next_key: str) -> str | None:
    """The key that a value other than a mapping at ``path`` is short for, where ``next_key`` is set
    beside it; ``None`` if it is replaced."""
    match path:
        case (str(section),):
            return _SHORT_FORM_KEYS.get(section)
        case (str(section), int()):
            return _SHORT_ITEM_KEYS.get(section)
        case ("space", _):
            return "values" if next_key == "when" else None
    return None


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
    key = None if section is None else _short_form_key(path, next_key)
    container[path[-1]] = {} if key is None else {key: section}
    document.keys.setdefault(path, location)
    document.values.setdefault(path, location)
    return container[path[-1]]
