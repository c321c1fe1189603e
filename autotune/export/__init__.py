"""Exports a trial to a trainer. The formats are records of :mod:`autotune.components`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autotune.components import EXPORT_FORMATS
from autotune.domain.registry import import_object
from autotune.domain.text import closest
from autotune.errors import UsageError
from autotune.export.artifacts import ArtifactFormat
from autotune.export.base import ScriptFormat
from autotune.export.yaml import YamlFormat
from autotune.ports import Exporter


def exporter(
    name: str,
    *,
    allow_partial: bool = False,
    overwrite: bool = False,
    all_rows: bool = False,
    comparison: str = "",
    model: Path | None = None,
) -> Exporter:
    """The exporter of a format. Raises :class:`UsageError` for an unknown format.

    ``allow_partial``: leave out the levers that the format cannot express, and list them.
    ``overwrite``: replace edited files and trained models of an earlier export.
    ``all_rows``: export the rows beyond the study's ``train_samples`` too.
    ``comparison``: the trial against the default, for the README
    (:meth:`autotune.analysis.snapshot.Snapshot.describe`).
    ``model``: the folder of the trained model, for formats that export it.
    """
    if name not in EXPORT_FORMATS:
        match = closest(name, EXPORT_FORMATS)
        valid = f"one of {', '.join(EXPORT_FORMATS)}"
        hint = f"did you mean {match}? {valid}" if match else valid
        raise UsageError(f"no export format {name!r}", hint=hint)
    chosen: Exporter = import_object(EXPORT_FORMATS[name].exporter)
    if isinstance(chosen, ScriptFormat):
        return replace(
            chosen,
            allow_partial=allow_partial,
            overwrite=overwrite,
            all_rows=all_rows,
            comparison=comparison,
        )
    if isinstance(chosen, ArtifactFormat):
        return replace(chosen, overwrite=overwrite, model=model)
    return replace(chosen, overwrite=overwrite) if isinstance(chosen, YamlFormat) else chosen
