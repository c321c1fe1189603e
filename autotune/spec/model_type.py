"""The type of a task's model, from its config, without torch or a network."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from autotune.domain import Categorical, ForbiddenClause, Range, SearchSpace, Value
from autotune.domain.search_space import settings
from autotune.domain.strategy import OF_TASK
from autotune.errors import UsageError
from autotune.levers.base import Lever
from autotune.levers.model_types import LAYER_LEVERS, why_unsupported
from autotune.spec.conditions import can_hold
from autotune.spec.domains import AddError, ResolvedDomain, SkippedSetting


def model_type_of(name: str) -> str | None:
    """``config.model_type`` of a built-in model, of one in a directory, or of one in the cache of
    the hub's client; ``None`` if it is not known before the search."""
    if name.startswith("builtin:"):
        return "bert"
    try:
        folder = Path(name).expanduser()
        paths = [folder / "config.json"] if folder.is_dir() else _cached_configs(name)
        config = json.loads(paths[-1].read_bytes()) if paths else None
    except (OSError, ValueError, RuntimeError, RecursionError):  # the search tells what is wrong
        return None
    kind = config.get("model_type") if isinstance(config, dict) else None
    return kind if isinstance(kind, str) and kind.isprintable() else None


def _cached_configs(name: str) -> list[Path]:
    """The configs of a hub model in the cache, oldest first."""
    if home := os.environ.get("HF_HUB_CACHE"):
        cache = Path(home)
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache = Path(os.environ.get("HF_HOME") or caches / "huggingface") / "hub"
    snapshots = cache / f"models--{name.replace('/', '--')}" / "snapshots"
    return sorted(snapshots.glob("*/config.json"), key=lambda path: path.lstat().st_mtime)


def restrict_to_model(
    lever: Lever, domain: ResolvedDomain, model_type: str | None, add_error: AddError
) -> ResolvedDomain | None:
    """``domain`` without the settings that the model cannot run; a mistake if none is left."""
    values = _values(domain.available)
    reasons = [why_unsupported(lever.name, value, model_type) for value in values]
    reason = next(filter(None, reasons), None)
    if reason is None:
        return domain
    left = [value for value, why in zip(values, reasons, strict=True) if why is None]
    skipped = ", ".join(str(v) for v, why in zip(values, reasons, strict=True) if why)
    if settings(domain.available) is None:
        skipped = "above 0"
    if not left:
        add_error((), f"the model can run no setting of {lever.name}: {reason}; remove it")
        return None
    omitted = SkippedSetting(lever.name, skipped, reason)
    return ResolvedDomain(domain.written, Categorical(tuple(left)), (*domain.skipped, omitted))


def restrict_space(space: SearchSpace, model_type: str | None) -> SearchSpace:
    """``space`` without the settings that the model cannot run, for a model whose type was not
    known when the study file was resolved: one of the hub that had to be downloaded.

    :raises UsageError: it can run no setting of a lever.
    """
    dimensions = []
    for dimension in space.dimensions:
        lever, values = dimension.lever, _values(dimension.domain)
        left = [v for v in values if why_unsupported(lever, v, model_type) is None]
        if not left:
            reason = why_unsupported(lever, values[0], model_type)
            raise UsageError(
                f"the model can run no setting of {lever}: {reason}",
                hint=f"remove {lever} from the section space",
            )
        domain = Categorical(tuple(left)) if len(left) < len(values) else dimension.domain
        dimensions.append(replace(dimension, domain=domain))
    restricted = replace(space, dimensions=tuple(dimensions))
    if restricted == space:
        return space
    active = (d for d in dimensions if d.when is None or can_hold(d.when, restricted))
    return replace(space, dimensions=tuple(active))


def restrict_to_models(space: SearchSpace, model: str) -> SearchSpace:
    """``space`` without what its models cannot run: that of the task, ``model``, or several."""
    models = searched_models(space)
    if len(models) == 1:
        name = model if models[0] == OF_TASK else str(models[0])
        return restrict_space(space, model_type_of(name))
    rules = (rule for rule in model_rules(models, model) if rule not in space.rules)
    return replace(space, rules=(*space.rules, *rules))


def searched_models(space: SearchSpace) -> tuple[Value, ...]:
    """The settings of the lever ``model`` in ``space``."""
    domains = [d.domain for d in space.dimensions if d.lever == "model"]
    return _values(domains[0]) if domains else (space.defaults.get("model", OF_TASK),)


def model_rules(models: Sequence[Value], model: str) -> Iterator[ForbiddenClause]:
    """What each of ``models`` cannot run; ``model`` is that of the task."""
    for setting in models:
        model_type = model_type_of(model if setting == OF_TASK else str(setting))
        for lever, neutral in LAYER_LEVERS.items():
            if (reason := why_unsupported(lever, True, model_type)) is not None:
                yield ForbiddenClause(f"model == '{setting}' and {lever} != {neutral}", reason)


def _values(domain: Categorical | Range) -> tuple[Value, ...]:
    """The settings of a domain; of a continuous range its ends."""
    finite = settings(domain)
    if finite is not None:
        return tuple(finite)
    assert isinstance(domain, Range)
    return domain.low, domain.high
