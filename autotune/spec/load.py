"""Loads a study file: YAML, then its sections, then their meaning on a host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from autotune import plugins
from autotune.domain import ExecutorConfig, Host
from autotune.domain.paths import expand_home
from autotune.domain.text import suggest
from autotune.errors import Mistake, NotFoundError, PluginError, SpecError, UsageError
from autotune.spec import own_code
from autotune.spec.document import Document
from autotune.spec.models import ExecutorSection
from autotune.spec.overrides import apply
from autotune.spec.resolve import ResolvedStudy, executor_config, resolve
from autotune.spec.validation import validate
from autotune.spec.yaml import read

TEXT = "<text>"
"""The file name in mistakes of a study that was given as text."""


Check = Callable[[Document], None]
"""Records mistakes in a document before anything of it is used."""


def load(
    source: str | Path, *, host: Host, overrides: Sequence[str] = (), check: Check | None = None
) -> ResolvedStudy:
    """Load a study file, or the text of one (text with line breaks), for ``host``.

    The plug-ins of the study are loaded first. ``overrides`` are texts ``section.key=value`` that
    replace values of the file. ``check`` is for files of others. Raises
    :class:`~autotune.errors.SpecError` with all mistakes in file order, and
    :class:`~autotune.errors.UsageError` if the file cannot be read.
    """
    text, name = _read_text(source)
    document = read(text, name)
    has_syntax_errors = bool(document.mistakes)
    apply(document, overrides)
    if check is not None:
        check(document)
    plugin_names = _load_plugins(document, source)
    file = validate(document) if document.data is not None or not has_syntax_errors else None
    resolved = resolve(file, document, host, plugin_names) if file is not None else None
    if resolved is None or document.mistakes:
        raise SpecError(
            _in_order(document.mistakes, name), hint="autotune init writes a file that works"
        )
    return resolved


def executor(
    source: str | Path, *, overrides: Sequence[str] = (), check: Check | None = None
) -> ExecutorConfig:
    """The executor of a study file, which is needed before the hardware is known. If the section
    has mistakes, the result is the default; :func:`load` reports them."""
    text, name = _read_text(source)
    document = read(text, name)
    apply(document, overrides)
    if check is not None:
        check(document)
    _load_plugins(document, source)
    data = document.data if isinstance(document.data, dict) else {}
    try:
        return executor_config(ExecutorSection(executor=data.get("executor", {})).executor)
    except ValidationError:
        return ExecutorConfig()


def _load_plugins(document: Document, source: str | Path) -> list[str]:
    """Load the installed plug-ins and those that the document lists. Returns their names as
    :func:`autotune.plugins.load` takes them. Paths in ``document`` become absolute."""
    names = plugins.load_installed()
    folder = Path.cwd() if _is_text(source) else Path(source).absolute().parent
    entries = document.data.get("plugins") if isinstance(document.data, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        entries = []  # the validation reports it
    for index, entry in enumerate(entries):
        path = str((folder / expand_home(entry)).resolve())
        entries[index] = path
        names.append(path)
        try:
            plugins.load([path])
        except PluginError as error:
            document.add_error(("plugins", index), error.message)
    return [*names, *own_code.load_modules(document, names, folder)]


def _is_text(source: str | Path) -> bool:
    return isinstance(source, str) and "\n" in source


def _read_text(source: str | Path) -> tuple[str, str]:
    """The text and its file name."""
    if _is_text(source):
        return str(source), TEXT
    path = Path(source)
    try:
        return path.read_text(encoding="utf-8-sig"), str(source)
    except FileNotFoundError as error:
        folder = path.parent
        names = sorted(p.name for p in folder.glob("*.y*ml")) if folder.is_dir() else []
        hint = suggest(path.name, names) if names else "autotune init writes a study file"
        raise NotFoundError(f"there is no study file {source}", hint=hint) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}") from error


def _in_order(mistakes: Sequence[Mistake], name: str) -> list[Mistake]:
    """Unique mistakes in file order, those of the command line last."""
    unique = list(dict.fromkeys(mistakes))
    return sorted(unique, key=lambda m: (m.file != name, m.line, m.column))
