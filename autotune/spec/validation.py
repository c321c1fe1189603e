"""Plain data into :class:`~autotune.spec.models.StudyFile`, and pydantic's errors into mistakes.

What has the wrong shape is reported and then left out, so that the rest of the file is still read
for what it means and all mistakes of a file come at once.
"""

from __future__ import annotations

import copy
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autotune.spec.document import Document, Path, nearest, quote
from autotune.spec.models import StudyFile

_STAND_INS: Mapping[str, Any] = {
    "study": "study",
    "objectives": ["accuracy"],
    "space": {"batch_size": "auto"},
}
"""What takes the place of a required section that is missing or wrong."""

_WHOLE = {**dict.fromkeys(("objectives", "constraints", "space", "rules", "start_with"), 2),
          "confirm": 1}  # fmt: skip
"""Sections of which more than what is wrong is left out: the entry it is in, or the section."""


def shape(document: Document) -> StudyFile | None:
    """The file in its shape, without what was wrong; ``None`` where nothing is left to read.
    Mistakes are recorded in ``document``."""
    if not isinstance(document.data, dict):
        if not document.mistakes:
            document.add_error(
                (), f"a study file is a mapping of sections, not {_kind(document.data)}"
            )
        return None
    data = {k: copy.deepcopy(v) for k, v in document.data.items() if v is not None}
    while True:
        try:
            return StudyFile.model_validate(data)
        except ValidationError as problem:
            errors = problem.errors(include_url=False)
        wrong = set()
        for error in errors:
            path = _written(error["loc"], data)
            _blame(document, error, path)
            wrong.add(path[: _WHOLE.get(str(path[0]), len(path))] if path else path)
        for path in sorted(wrong, reverse=True):
            _leave_out(data, path, document)


def _written(location: Sequence[str | int], data: Any) -> Path:
    """``location`` without what the file does not spell out: keys of long forms, missing keys."""
    path: list[str | int] = []
    for part in location:
        inside = isinstance(data, dict) and part in data
        inside = inside or (isinstance(data, list) and isinstance(part, int) and part < len(data))
        if inside:
            path.append(part)
            data = data[part]
    return tuple(path)


def _blame(document: Document, error: ErrorDetails, path: Path) -> None:
    kind, name = error["type"], str(error["loc"][-1])
    if kind == "missing":
        where = f"{'.'.join(map(str, path))}: " if path else ""
        document.add_error(path, f"{where}'{name}' is missing", key=True)
    elif kind == "extra_forbidden":
        where = ".".join(map(str, path[:-1])) or "a study file"
        hint = nearest(name, keys_at(path[:-1]))
        document.add_error(path, f"unknown key '{name}' in {where}; {hint}", key=True)
    else:
        document.add_error(path, f"{'.'.join(map(str, path))}: {_sentence(error)}")


def _sentence(error: ErrorDetails) -> str:
    kind, given, limits = error["type"], error["input"], error.get("ctx", {})
    if given is None:
        return "is empty"
    if kind == "literal_error":
        names = limits["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{quote(given)} is not known; {nearest(given, names)}"
    if kind == "string_pattern_mismatch":
        return f"{quote(given)} is not {_PATTERNS[str(error['loc'][-1])]}"
    wanted = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "string_type": "text",
        "list_type": "a list",
        "dict_type": "a mapping",
        "model_type": "a mapping",
        "finite_number": "a finite number",
        "greater_than": f"greater than {limits.get('gt')}",
        "greater_than_equal": f"at least {limits.get('ge')}",
        "less_than": f"less than {limits.get('lt')}",
        "less_than_equal": f"at most {limits.get('le')}",
        "too_short": "a list of one or more" if isinstance(given, list) else "one entry or more",
        "string_too_short": "some text",
    }[kind]
    return f"must be {wanted}, not {quote(given) if given not in ([], {}, '') else 'empty'}"


_PATTERNS = {
    "study": "a name (letters, digits, '.', '_', '-'; starting with a letter or digit; up to 100)",
    "storage": "a database URL, such as sqlite:///autotune.db or postgresql+psycopg://host/name",
}


def _leave_out(data: dict[str, Any], path: Path, document: Document) -> None:
    """Take the wrong part out of ``data``; a required section makes way for its stand-in."""
    if path:
        holder: Any = data
        for part in path[:-1]:
            holder = holder[part]
        del holder[path[-1]]
        if isinstance(path[-1], int):
            document.shift(path)
    for section, stand_in in _STAND_INS.items():
        if not data.get(section):
            data[section] = stand_in


def keys_at(path: Path) -> list[str]:
    """The keys that the section at ``path`` may have."""
    annotation: Any = StudyFile
    for part in path:
        model = _model(annotation)
        if model is not None and part in model.model_fields:
            annotation = model.model_fields[str(part)].annotation
    model = _model(annotation)
    return sorted(model.model_fields) if model is not None else []


def _model(annotation: Any) -> type[BaseModel] | None:
    """The section within an annotation such as ``list[Annotated[RuleSpec, ...]] | None``."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_model(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


def _kind(data: object) -> str:
    return "empty" if data is None else quote(data)
