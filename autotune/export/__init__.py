"""From a trial to a trainer: one file a format, and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

from autotune.errors import UsageError
from autotune.export import (
    accelerate,
    deepspeed,
    hf_trainer,
    lightning,
    ray_train,
    slurm,
    torchrun,
    yaml,
)
from autotune.export.base import ScriptFormat
from autotune.ports import Exporter

_ALL: tuple[Exporter, ...] = (
    hf_trainer.FORMAT,
    accelerate.FORMAT,
    deepspeed.FORMAT,
    torchrun.FORMAT,
    lightning.FORMAT,
    ray_train.FORMAT,
    slurm.FORMAT,
    yaml.FORMAT,
)

EXPORTERS: Mapping[str, Exporter] = {found.name: found for found in _ALL}


def exporter(name: str, *, allow_partial: bool = False) -> Exporter:
    """The exporter of this name; with ``allow_partial``, one that leaves out what its format cannot
    express and lists it. Raises :class:`UsageError` with the nearest name."""
    found = EXPORTERS.get(name)
    if found is None:
        near = get_close_matches(name, EXPORTERS, n=1, cutoff=0.6)
        valid = f"one of {', '.join(EXPORTERS)}"
        hint = f"did you mean {near[0]}? {valid}" if near else valid
        raise UsageError(f"no export format {name!r}", hint=hint)
    return replace(found, allow_partial=allow_partial) if isinstance(found, ScriptFormat) else found
