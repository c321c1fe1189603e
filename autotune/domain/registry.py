"""Records by name that plug-ins can add to, and implementations that are imported on first use."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol, TypeVar

from autotune.domain.text import suggest
from autotune.errors import NotFoundError, UsageError

EXTENSIONS = "autotune.extensions"
"""The package under which modules of plug-in files are found by the names of their files."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*")


class Named(Protocol):
    """A record with a name."""

    @property
    def name(self) -> str: ...


RecordT = TypeVar("RecordT", bound=Named)


class Registry(Mapping[str, RecordT]):
    """Records of one ``noun`` (``metric``, ``sampler``) by name, in order of registration."""

    def __init__(self, noun: str, records: Iterable[RecordT] = ()) -> None:
        self.noun = noun
        self._records: dict[str, RecordT] = {}
        for record in records:
            self.register(record)

    def register(self, record: RecordT) -> None:
        """Add ``record``. Raises :class:`UsageError` if its name is taken or malformed; an equal
        record may be registered again."""
        if not _NAME.fullmatch(record.name):
            raise UsageError(
                f"{self.noun} name {record.name!r} is not valid",
                hint="use lower-case letters, digits, '_' and '-', starting with a letter",
            )
        if self._records.get(record.name, record) != record:
            raise UsageError(
                f"the {self.noun} {record.name!r} is already registered", hint="use another name"
            )
        self._records[record.name] = record

    def unregister(self, name: str) -> None:
        """Remove the record ``name``, so that a failed plug-in leaves nothing behind."""
        del self._records[name]

    def find(self, name: str) -> RecordT:
        """The record ``name``. Raises :class:`NotFoundError` with the closest name."""
        if name not in self._records:
            raise NotFoundError(f"unknown {self.noun} {name!r}", hint=suggest(name, self._records))
        return self._records[name]

    def __getitem__(self, name: str) -> RecordT:
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


def import_object(reference: Any) -> Any:
    """The object behind ``"package.module:attribute"``, in a plug-in file of this name if one is
    loaded; anything but text is returned as it is."""
    if not isinstance(reference, str):
        return reference
    name, _, attribute = reference.partition(":")
    module = sys.modules.get(f"{EXTENSIONS}.{name}") or import_module(name)
    return getattr(module, attribute)


def import_function(reference: Any, key: str) -> Any:
    """A function that a user names under ``key``, as :func:`import_object` imports it. Raises
    :class:`UsageError` if it cannot be imported."""
    try:
        return import_object(reference)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"{key}: {reference} cannot be imported: {error}",
            hint="put its module beside the study file, or install it where trials run",
        ) from error
