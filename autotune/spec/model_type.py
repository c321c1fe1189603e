"""The type of a task's model, from its config, without torch or a network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from autotune.domain import Categorical, Value
from autotune.domain.search_space import settings
from autotune.levers.base import Lever
from autotune.levers.model_types import why_unsupported
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
        cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"
    snapshots = cache / f"models--{name.replace('/', '--')}" / "snapshots"
    return sorted(snapshots.glob("*/config.json"), key=lambda path: path.lstat().st_mtime)


def restrict_to_model(
    lever: Lever, domain: ResolvedDomain, model_type: str | None, add_error: AddError
) -> ResolvedDomain | None:
    """``domain`` without the settings that the model cannot run; a mistake if none is left."""
    reason = _first_reason(lambda value: why_unsupported(lever.name, value, model_type), domain)
    if reason is None:
        return domain
    finite = settings(domain.available)
    left: list[Value]
    if finite is None:  # a continuous range keeps its end
        assert not isinstance(domain.available, Categorical)
        low, high = domain.available.low, domain.available.high
        left, skipped = [low], f"above {low:g} to {high:g}"
    else:
        left = list(finite)
        skipped = ", ".join(str(v) for v in left if why_unsupported(lever.name, v, model_type))
    left = [value for value in left if why_unsupported(lever.name, value, model_type) is None]
    if not left:
        add_error((), f"the model can run no setting of {lever.name}: {reason}; remove it")
        return None
    omitted = SkippedSetting(lever.name, skipped, reason)
    return ResolvedDomain(domain.written, Categorical(tuple(left)), (*domain.skipped, omitted))


def _first_reason(why: Callable[[Value], str | None], domain: ResolvedDomain) -> str | None:
    available = domain.available
    finite = settings(available)
    if finite is None:
        assert not isinstance(available, Categorical)
        finite = (available.low, available.high)
    return next((reason for value in finite if (reason := why(value))), None)
