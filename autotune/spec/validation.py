"""Validates the structure of a study file with pydantic, and words its errors.

An invalid value is reported and removed. The rest of the file is then still checked, so that all
mistakes of a file are reported at once.
"""

from __future__ import annotations

import copy
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autotune.domain.text import suggest
from autotune.spec.document import Document, Path, quote
from autotune.spec.fields import UNKNOWN_NAME
from autotune.spec.models import StudyFile

_VALID_SECTIONS: Mapping[str, Any] = {
    "study": "study",
    "objectives": ["accuracy"],
    "space": {"batch_size": "auto"},
}
"""Replace a required section that is missing or invalid."""

_REMOVAL_DEPTH: Mapping[str, int] = {
    **dict.fromkeys(("objectives", "constraints", "space", "rules", "start_with"), 2),
    **dict.fromkeys(("baseline", "confirm", "goal"), 1),
}
"""For some sections, the length of the path that is removed if something in it is invalid: the
entry (2) or the section (1), not only the invalid value."""

_EXPECTED: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_too_short": "some text",
}
"""By pydantic's type of an error, what the value must be. Others have pydantic's own message."""

_PYDANTIC_PREFIX = "Input should be "

_PATTERNS: Mapping[str, str] = {
    "study": "a name (letters, digits, '.', '_', '-'; starting with a letter or digit; up to 100)",
    "storage": "a database URL, such as sqlite:///autotune.db or postgresql+psycopg://host/name",
}
"""By key, what its regular expression accepts."""


def validate(document: Document) -> StudyFile | None:
    """The study file without its invalid values; ``None`` if it is not a mapping. Mistakes are
    recorded in ``document``."""
    if not isinstance(document.data, dict):
        if not document.mistakes:
            content = "empty" if document.data is None else quote(document.data)
            document.add_error((), f"a study file is a mapping of sections, not {content}")
        return None
    data = {k: copy.deepcopy(v) for k, v in document.data.items() if v is not None}
    if "goal" in data:
        data.setdefault("objectives", _VALID_SECTIONS["objectives"])  # the goal replaces them
    while True:
        try:
            return StudyFile.model_validate(data)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        invalid = set()
        for details in errors:
            path = _path_in(data, details["loc"])
            if details["type"] == "string_type" and _use_source_text(data, path, document):
                continue
            _add_error(document, details, path)
            invalid.add(path[: _REMOVAL_DEPTH.get(str(path[0]), len(path))] if path else path)
        for path in sorted(invalid, reverse=True):
            _remove(data, path, document)


def _use_source_text(data: Any, path: Path, document: Document) -> bool:
    """Replace a number or a truth value where text is meant by its spelling in the file, so that
    a study, a model or a column can be named 12e4567 or true."""
    location = document.values.get(path)
    if location is None or location.text is None:
        return False
    for root in [data] if document.mistakes else [data, document.data]:  # paths may have changed
        container: Any = root
        for key in path[:-1]:
            container = container[key]
        container[path[-1]] = location.text
    return True


def _path_in(data: Any, location: Sequence[str | int]) -> Path:
    """The part of pydantic's ``location`` that the file spells out: without the keys of long forms
    and missing keys."""
    path: list[str | int] = []
    for key in location:
        exists = isinstance(data, dict) and key in data
        exists = exists or (isinstance(data, list) and isinstance(key, int) and key < len(data))
        if exists:
            path.append(key)
            data = data[key]
    return tuple(path)


def _add_error(document: Document, error: ErrorDetails, path: Path) -> None:
    kind, name = error["type"], str(error["loc"][-1])
    if kind == "missing":
        section = f"{'.'.join(map(str, path))}: " if path else ""
        document.add_error(path, f"{section}'{name}' is missing", key=True)
    elif kind == "extra_forbidden":
        section = ".".join(map(str, path[:-1])) or "a study file"
        hint = suggest(name, valid_keys(path[:-1]))
        document.add_error(path, f"unknown key '{name}' in {section}; {hint}", key=True)
    else:
        document.add_error(path, f"{'.'.join(map(str, path))}: {_message(error)}")


def _message(error: ErrorDetails) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if value is None:
        return "is empty"
    if kind == "literal_error":
        names = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{quote(value)} is not known; {suggest(value, names)}"
    if kind == UNKNOWN_NAME:
        return f"{quote(value)} is not known; {suggest(value, context['names'].split(', '))}"
    if kind == "string_pattern_mismatch":
        return f"{quote(value)} is not {_PATTERNS[str(error['loc'][-1])]}"
    if kind == "too_short":
        expected = "a list of one or more" if isinstance(value, list) else "one entry or more"
    elif kind in _EXPECTED:
        expected = _EXPECTED[kind].format(**context)
    elif error["msg"].startswith(_PYDANTIC_PREFIX):
        expected = error["msg"].removeprefix(_PYDANTIC_PREFIX)
    else:
        return f"{quote(value)} is not valid: {error['msg']}"
    return f"must be {expected}, not {quote(value) if value not in ([], {}, '') else 'empty'}"


def _remove(data: dict[str, Any], path: Path, document: Document) -> None:
    """Remove ``path`` from ``data``, and put valid values for required sections."""
    if path:
        container: Any = data
        for key in path[:-1]:
            container = container[key]
        del container[path[-1]]
        if isinstance(path[-1], int):
            document.remove_item(path)
    for section, value in _VALID_SECTIONS.items():
        if not data.get(section):
            data[section] = value


def valid_keys(path: Path) -> list[str]:
    """The keys that the section at ``path`` can have."""
    annotation: Any = StudyFile
    for key in path:
        model = _model_in(annotation)
        if model is not None and key in model.model_fields:
            annotation = model.model_fields[str(key)].annotation
    model = _model_in(annotation)
    return sorted(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as ``list[Annotated[RuleSpec, ...]] | None``."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    models = (_model_in(argument) for argument in typing.get_args(annotation))
    return next((model for model in models if model is not None), None)
