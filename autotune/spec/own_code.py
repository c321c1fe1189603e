"""Code of a user's own that a task names as ``module:function``: loss, collator, scores, and the
class of the model.

The module is a Python file beside the study file, which becomes a plug-in, or an installed one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autotune import plugins
from autotune.domain.losses import LOSSES
from autotune.domain.metrics import own_score
from autotune.domain.registry import EXTENSIONS
from autotune.domain.text import suggest
from autotune.errors import PluginError, UsageError
from autotune.spec.document import Document
from autotune.spec.document import Path as Location

DIGEST_DIGITS = 16


def load_modules(document: Document, names: Sequence[str], folder: Path) -> list[str]:
    """Load the modules that the task of ``document`` names, beside the plug-ins ``names``, and
    register its scores. Returns the files among them, which ``document`` then lists as plug-ins, so
    that it is complete without its folder."""
    files: list[str] = []
    for location, reference in _references(document.data):
        module, _, function = reference.partition(":")
        try:
            path = _file(module, (folder, Path.cwd()))
            if path is not None and not _is_listed(module, [*names, *files]):
                plugins.load([str(path)])
                files.append(str(path))
            _check(module, function)
            if location[1] == "metrics":
                plugins.register_metric(own_score(reference))
        except (PluginError, UsageError) as error:
            document.add_error(location, error.message)
    listed = document.data.get("plugins") if files else None
    if files and isinstance(listed, list | None):
        document.data["plugins"] = [*(listed or ()), *files]
    return files


def code_digest(*references: str | None) -> str | None:
    """A digest of the source files of functions; ``None`` if no source is known. A name without a
    module is that of a loss."""
    names = [name for name in references if name is not None]
    functions = [LOSSES[name].function if name in LOSSES else name for name in names]
    sources = [path.read_bytes() for item in functions if (path := _source(item)) is not None]
    return sha256(b"".join(sources)).hexdigest()[:DIGEST_DIGITS] if sources else None


FUNCTION_KEYS = ("loss", "collator", "model_class", "metrics")
"""Keys of ``task`` that can name code: ``module:name``. A ``loss`` without a colon is built in."""


def _references(data: Any) -> Iterator[tuple[Location, str]]:
    task = data.get("task") if isinstance(data, dict) else None
    if not isinstance(task, dict):
        return
    metrics = task.get("metrics")
    if isinstance(loss := task.get("loss"), str) and ":" in loss:
        yield ("task", "loss"), loss
    for key in ("collator", "model_class"):
        if isinstance(reference := task.get(key), str) and reference:
            yield ("task", key), reference
    for index, metric in enumerate(metrics if isinstance(metrics, list) else ()):
        if isinstance(metric, str) and metric:
            yield ("task", "metrics", index), metric


def _file(module: str, folders: Sequence[Path]) -> Path | None:
    paths = [folder / f"{module}.py" for folder in folders if module.isidentifier()]
    return next((path.resolve() for path in paths if path.is_file()), None)


def _is_listed(module: str, names: Sequence[str]) -> bool:
    return any(name.endswith(".py") and Path(name).stem == module for name in names)


def _check(module: str, function: str) -> None:
    """Raise :class:`UsageError` if there is no such module, or no such function in a file. An
    installed module may take seconds to import, and is not imported here."""
    if not module or not function:
        raise UsageError("a function is named as module:function, such as my_scores:f2")
    if extension := sys.modules.get(f"{EXTENSIONS}.{module}"):
        if not hasattr(extension, function):
            names = [n for n, value in vars(extension).items() if callable(value) and n[0] != "_"]
            hint = suggest(function, names)
            raise UsageError(f"{module}.py has no function {function!r}; {hint}")
        return
    try:
        is_installed = find_spec(module) is not None
    except (ImportError, ValueError):
        is_installed = False
    if not is_installed:
        raise UsageError(
            f"there is no module {module}: no {module}.py beside the study file, and none is "
            "installed"
        )


def _source(function: Any) -> Path | None:
    """The file of a function, or of the module of ``module:function``."""
    name = function.partition(":")[0] if isinstance(function, str) else function.__module__
    module = sys.modules.get(f"{EXTENSIONS}.{name}") or sys.modules.get(name)
    try:
        spec = None if module is not None else find_spec(name)
    except (ImportError, ValueError):
        return None  # recorded as a mistake
    file = getattr(module, "__file__", None) or (spec and spec.origin)
    return Path(file) if file and Path(file).is_file() else None
