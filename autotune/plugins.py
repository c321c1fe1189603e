"""Plug-ins: Python files and installed packages that register components.

A plug-in is a Python file that a study file names under ``plugins``, or an installed package with
an entry point in the group ``autotune.plugins``. It adds components by calling the functions of
this module when it is imported::

    from autotune.domain import Phase
    from autotune.domain.metrics import Metric, MetricKind
    from autotune.plugins import register_metric

    def balanced_accuracy(labels, predictions, label_names):
        return float(np.mean([(predictions == c)[labels == c].mean() for c in np.unique(labels)]))

    register_metric(
        Metric(
            "balanced_accuracy", "balanced accuracy", "ratio", "maximize", Phase.TRAIN,
            "Mean recall of the classes", 4, kind=MetricKind.SHARE, score=balanced_accuracy,
        )
    )

Plug-ins are loaded in the driver before the study file is checked, and again in every worker
process, on Ray too: a file has to be at the same path on every node. They run with the rights of
the user, so load only code that you trust. An entry point names a module, or a function without
arguments that registers the components.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import ParamSpec, TypeVar

from autotune.components import (
    EXECUTORS,
    EXPORT_FORMATS,
    SAMPLERS,
    STOPPING_RULES,
    ExecutorType,
    ExportFormat,
    SamplerType,
    StoppingRule,
)
from autotune.domain.losses import LOSSES, LossFunction
from autotune.domain.metrics import METRICS, Metric, own_score, register_score
from autotune.domain.registry import EXTENSIONS
from autotune.domain.tasks import TASK_KINDS, TaskKind
from autotune.errors import PluginError
from autotune.levers.registry import LEVERS, register_lever

__all__ = [
    "ENTRY_POINTS",
    "call_with_plugins",
    "load",
    "load_installed",
    "register_executor",
    "register_export_format",
    "register_lever",
    "register_loss",
    "register_metric",
    "register_sampler",
    "register_stopping_rule",
    "register_task_kind",
]

ENTRY_POINTS = "autotune.plugins"
"""Entry-point group of installed plug-ins."""

P = ParamSpec("P")
T = TypeVar("T")

_REGISTRIES = (
    LEVERS, METRICS, LOSSES, TASK_KINDS, SAMPLERS, STOPPING_RULES, EXECUTORS, EXPORT_FORMATS,
)  # fmt: skip
_loaded: set[str] = set()


def register_metric(metric: Metric) -> None:
    """Add a score of predictions: a metric with :attr:`~autotune.domain.metrics.Metric.score`. The
    score of the deployed model is ``deployed_NAME``."""
    register_score(metric)


def register_scores(references: Iterable[str]) -> None:
    """Add the user's own scores, by the ``module:function`` of ``task.metrics``."""
    for reference in references:
        register_metric(own_score(reference))


def register_task_kind(kind: TaskKind) -> None:
    """Add a value of ``task.kind``."""
    TASK_KINDS.register(kind)


def register_loss(loss: LossFunction) -> None:
    """Add a value of ``task.loss``."""
    LOSSES.register(loss)


def register_sampler(sampler: SamplerType) -> None:
    """Add a value of ``sampler``."""
    SAMPLERS.register(sampler)


def register_stopping_rule(rule: StoppingRule) -> None:
    """Add a value of ``early_stopping``."""
    STOPPING_RULES.register(rule)


def register_executor(executor: ExecutorType) -> None:
    """Add a value of ``executor``."""
    EXECUTORS.register(executor)


def register_export_format(export_format: ExportFormat) -> None:
    """Add a format of ``autotune export``."""
    EXPORT_FORMATS.register(export_format)


def load(names: Sequence[str]) -> None:
    """Load plug-ins that this process has not loaded yet. A name is the path of a Python file, or
    the ``module`` or ``module:function`` of an entry point. Raises
    :class:`~autotune.errors.PluginError` with the file and line of the error."""
    for name in names:
        if name not in _loaded:
            with _all_or_nothing():
                _load_file(Path(name)) if name.endswith(".py") else _load_entry_point(name)
            _loaded.add(name)
        if name.endswith(".py"):  # what a study file names as module:function
            sys.modules[f"{EXTENSIONS}.{Path(name).stem}"] = sys.modules[_module_name(Path(name))]


def load_installed() -> list[str]:
    """Load the installed plug-ins and return their names, for :func:`load` in other processes."""
    names = _installed_names()
    load(names)
    return list(names)


def call_with_plugins(
    names: Sequence[str], function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Load the plug-ins ``names``, then call ``function``. For calls in worker processes."""
    load(names)
    return function(*args, **kwargs)


@cache
def _installed_names() -> tuple[str, ...]:
    return tuple(sorted(point.value for point in entry_points(group=ENTRY_POINTS)))


def _load_file(path: Path) -> None:
    if not path.is_file():
        raise PluginError(f"there is no plug-in file {path}", hint="check the path")
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # records of the plug-in refer to it by its name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise PluginError(f"{_line_of(error, str(path))}: {_describe(error)}") from error


def _module_name(path: Path) -> str:
    return f"autotune_plugin_{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"


def _load_entry_point(name: str) -> None:
    module, _, attribute = name.partition(":")
    try:
        plugin = import_module(module)
        if attribute:
            getattr(plugin, attribute)()
    except Exception as error:
        raise PluginError(
            f"the installed plug-in {name} cannot be loaded: {_describe(error)}",
            hint="fix or uninstall its package; it has to be installed on every node",
        ) from error


def _line_of(error: Exception, path: str) -> str:
    """``file:line`` of the last line of the plug-in that was executed."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return f"{path}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    return f"{path}:{lines[-1]}" if lines else path


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    """Remove the records of a plug-in that fails, so that it can be corrected and loaded again."""
    before = [(registry, set(registry)) for registry in _REGISTRIES]
    try:
        yield
    except PluginError:
        for registry, names in before:
            for name in set(registry) - names:
                registry.unregister(name)
        raise
