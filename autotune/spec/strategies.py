"""The sections ``baseline`` and ``start_with``: strategies by the settings of their levers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.domain import (
    Categorical,
    Host,
    SearchSpace,
    Strategy,
    Value,
    expression,
)
from autotune.domain.search_space import complete, excluded
from autotune.domain.strategy import OF_TASK
from autotune.domain.text import suggest
from autotune.levers import LEVERS, defaults, forbidden_clauses
from autotune.levers.model_types import why_unsupported
from autotune.spec.document import Document, Path
from autotune.spec.domains import coerce, illegal_value_message
from autotune.spec.model_type import model_type_of
from autotune.spec.models import StudyFile


def resolve_baseline(file: StudyFile, document: Document, host: Host) -> Mapping[str, Value]:
    """The settings of the baseline that the file names. The other levers have the defaults of the
    Trainer."""
    path: Path = ("baseline",)
    if "epochs" in file.baseline:
        message = "task.epochs is how long the baseline trains; set it there"
        document.add_error((*path, "epochs"), message, key=True)
        return {}
    values = _settings(file.baseline, path, document, host, model_type_of(file.task.model))
    if not values:
        return {}
    default = defaults(host)
    strategy = Strategy({**default, **values})
    space = SearchSpace((), default, forbidden_clauses(host))
    if (rule := excluded(space, strategy)) is not None:
        document.add_error(path, f"it cannot run: {rule.excludes} ({rule.reason})", key=True)
    _check_active(values, strategy, default, {}, path, document)
    return values


def resolve_start_with(
    file: StudyFile, space: SearchSpace, document: Document, host: Host
) -> tuple[Strategy, ...]:
    """The strategies to run first. They can use any legal setting that this host can run, whether
    it is searched or not; levers that the space fixes have their fixed setting."""
    fixed = {
        d.lever: d.domain.values[0]
        for d in space.dimensions
        if isinstance(d.domain, Categorical) and len(d.domain.values) == 1
    }
    conditions = {d.lever: d.when for d in space.dimensions}
    strategies: list[Strategy] = []
    for index, entry in enumerate(file.start_with):
        path: Path = ("start_with", index)
        model = entry.get("model", OF_TASK)
        model_type = model_type_of(file.task.model if model == OF_TASK else str(model))
        values = _settings(entry, path, document, host, model_type)
        if file.task.steps is not None and "epochs" in entry:
            message = "task.steps fixes how long to train; remove epochs, or set no steps"
            document.add_error((*path, "epochs"), message, key=True)
        if values is None:
            continue
        strategy = complete(space, {**fixed, **values})
        rule = excluded(space, strategy)
        if rule is not None:
            document.add_error(path, f"the rules exclude it: {rule.excludes} ({rule.reason})")
        elif strategy in strategies:
            document.add_error(path, f"the same strategy as entry {strategies.index(strategy) + 1}")
        _check_active(values, strategy, space.defaults, conditions, path, document)
        strategies.append(strategy)
    return tuple(strategies)


def _settings(
    entry: Mapping[str, Any], path: Path, document: Document, host: Host, model_type: str | None
) -> dict[str, Value] | None:
    """``entry`` in the levers' own types; ``None`` if it has mistakes."""
    values: dict[str, Value] = {}
    for name, written in entry.items():
        if name not in LEVERS:
            message = f"unknown lever '{name}'; {suggest(name, LEVERS)}"
            document.add_error((*path, name), message, key=True)
            continue
        value = coerce(LEVERS[name], written)
        if value is None:
            document.add_error((*path, name), illegal_value_message(LEVERS[name], written))
        elif reason := LEVERS[name].unavailable(host, value):
            document.add_error((*path, name), f"this host cannot run {name} {value}: {reason}")
        elif reason := why_unsupported(name, value, model_type):
            document.add_error((*path, name), f"the model cannot run {name} {value}: {reason}")
        else:
            values[name] = value
    return values if len(values) == len(entry) else None


def _check_active(
    values: Mapping[str, Value],
    strategy: Strategy,
    defaults: Mapping[str, Value],
    conditions: Mapping[str, str | None],
    path: Path,
    document: Document,
) -> None:
    """Record a mistake for a lever that is set but has no effect. ``conditions`` by lever replace
    those of the registry."""
    for name, value in values.items():
        when = conditions.get(name, LEVERS[name].when)
        if when is None or value == defaults[name]:
            continue
        if not expression.parse(when, defaults.keys()).holds(strategy.values):
            message = f"{name} has no effect here: it matters only when {when}"
            document.add_error((*path, name), message, key=True)
