"""From the text of a study file to a study, through document, shape and meaning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from autotune.domain import ExecutorConfig, Host
from autotune.errors import Mistake, NotFoundError, SpecError, UsageError
from autotune.spec.document import nearest
from autotune.spec.models import ExecutorSection
from autotune.spec.overrides import apply
from autotune.spec.resolve import ResolvedStudy, chosen, resolve
from autotune.spec.validation import shape
from autotune.spec.yaml import read

TEXT = "<text>"
"""The file name in mistakes of a study that came as text."""


def load(source: str | Path, *, host: Host, overrides: Sequence[str] = ()) -> ResolvedStudy:
    """Read a study file, or the text of one (recognised by its line breaks), for ``host``.

    ``overrides`` are ``section.key=value`` texts put over the file. Raises
    :class:`~autotune.errors.SpecError` with all mistakes at once, in file order, and
    :class:`~autotune.errors.UsageError` where the file cannot be read.
    """
    text, name = _text(source)
    document = read(text, name)
    form = len(document.mistakes)
    apply(document, overrides)
    file = shape(document) if document.data is not None or not form else None
    loaded = resolve(file, document, host) if file is not None else None
    if loaded is None or document.mistakes:
        raise SpecError(
            _ordered(document.mistakes, name), hint="autotune init writes a file that works"
        )
    return loaded


def executor(source: str | Path, *, overrides: Sequence[str] = ()) -> ExecutorConfig:
    """Where a study file wants to run, which is known before the hardware there is. What is wrong
    with it is for :func:`load` to say: here it counts as not written."""
    document = read(*_text(source))
    apply(document, overrides)
    data = document.data if isinstance(document.data, dict) else {}
    try:
        return chosen(ExecutorSection(executor=data.get("executor", {})).executor)
    except ValidationError:
        return ExecutorConfig()


def _text(source: str | Path) -> tuple[str, str]:
    if isinstance(source, str) and "\n" in source:
        return source, TEXT
    path = Path(source)
    try:
        return path.read_text(encoding="utf-8-sig"), str(source)
    except FileNotFoundError as error:
        folder = path.parent
        there = sorted(p.name for p in folder.glob("*.y*ml")) if folder.is_dir() else []
        hint = nearest(path.name, there) if there else "autotune init writes a study file"
        raise NotFoundError(f"there is no study file {source}", hint=hint) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}") from error


def _ordered(mistakes: Sequence[Mistake], name: str) -> list[Mistake]:
    """In file order, those of the command line last, each once."""
    unique = list(dict.fromkeys(mistakes))
    return sorted(unique, key=lambda m: (m.file != name, m.line, m.column))
