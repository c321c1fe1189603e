"""Exports a trial to a trainer. The formats are records of :mod:`autotune.components`."""

from __future__ import annotations

from dataclasses import replace

from autotune.components import EXPORT_FORMATS
from autotune.domain.registry import import_object
from autotune.domain.text import closest
from autotune.errors import UsageError
from autotune.export.base import ScriptFormat
from autotune.ports import Exporter


def exporter(name: str, *, allow_partial: bool = False) -> Exporter:
    """The exporter of a format; with ``allow_partial``, one that leaves out the levers that its
    format cannot express, and lists them. Raises :class:`UsageError` for an unknown format."""
    if name not in EXPORT_FORMATS:
        match = closest(name, EXPORT_FORMATS)
        valid = f"one of {', '.join(EXPORT_FORMATS)}"
        hint = f"did you mean {match}? {valid}" if match else valid
        raise UsageError(f"no export format {name!r}", hint=hint)
    chosen: Exporter = import_object(EXPORT_FORMATS[name].exporter)
    if allow_partial and isinstance(chosen, ScriptFormat):
        return replace(chosen, allow_partial=True)
    return chosen
