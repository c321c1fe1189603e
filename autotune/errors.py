"""The exceptions of autotune, as one tree.

::

    AutotuneError                shown to the user: message, hint, exit code
    ├── UsageError               invalid input; exit code 2
    │   ├── SpecError            a study file has mistakes; carries all of them
    │   ├── PluginError          a plug-in is missing or raises an error; names file and line
    │   ├── ExpressionError      a condition, rule or constraint cannot be parsed
    │   ├── DataError            the data set cannot be used
    │   ├── ModelError           the model cannot be loaded
    │   ├── NotFoundError        no such study, trial, metric or lever
    │   ├── IncompatibleStudyError   the stored study has different settings
    │   └── MissingExtraError    an optional package is needed; names the extra
    ├── StoreError               the database cannot be used
    │   ├── StoreUnavailableError    unreachable, read-only, full, locked or corrupt
    │   ├── DamagedStudyError        a row of one study cannot be read; the others can
    │   ├── SchemaOutdatedError      written by an older version; ``autotune db upgrade``
    │   └── SchemaTooNewError        written by a newer version; upgrade the package
    ├── ExecutionError           workers cannot be started or were lost
    └── TrialError               raised inside a trial; becomes its outcome
        ├── OutOfMemory          host or device memory ran out
        ├── NanLoss              the loss is NaN or infinite
        ├── Unsupported          this model, device or build cannot run the strategy
        ├── DeploymentError      the trained model cannot be deployed with these settings
        └── StopTrial            the search stops the trial early

Each message says what is wrong and where; ``hint`` says what to type next.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class AutotuneError(Exception):
    """Base of all errors that autotune raises."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors are sent between processes, and subclasses have other arguments than the message.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    kind: type[AutotuneError], args: tuple[Any, ...], state: dict[str, Any]
) -> AutotuneError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class UsageError(AutotuneError):
    """The input is invalid; nothing was run or changed."""

    exit_code = 2


@dataclass(frozen=True)
class Mistake:
    """One mistake in a study file, at ``file:line:column`` (1-based)."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class SpecError(UsageError):
    """A study file has mistakes; :attr:`mistakes` has all of them in file order."""

    def __init__(self, mistakes: Sequence[Mistake], *, hint: str | None = None) -> None:
        super().__init__("\n".join(map(str, mistakes)), hint=hint)
        self.mistakes = tuple(mistakes)


class PluginError(UsageError):
    """A plug-in is missing or raises an error. The message names its file and line."""


class ExpressionError(UsageError):
    """An expression cannot be parsed. ``column`` is the 0-based position in its text."""

    def __init__(self, message: str, *, column: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.column = column


class DataError(UsageError):
    """The data set cannot be used for the task."""


class ModelError(UsageError):
    """The model cannot be loaded, or is not an encoder that autotune can fine-tune."""


class NotFoundError(UsageError):
    """A name does not exist; the message suggests similar ones."""


class IncompatibleStudyError(UsageError):
    """A study of this name exists with different settings, so results are not comparable."""


class MissingExtraError(UsageError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed",
            hint=f"pip install 'autotune[{extra}]'",
        )


class StoreError(AutotuneError):
    """The database cannot be used."""


class StoreUnavailableError(StoreError):
    """The database is unreachable, read-only, full, locked or corrupt."""


class DamagedStudyError(StoreError):
    """A row of a study has a value that this version does not know; other studies can be used."""


class SchemaOutdatedError(StoreError):
    """The database was written by an older version of autotune."""


class SchemaTooNewError(StoreError):
    """The database was written by a newer version of autotune."""


class ExecutionError(AutotuneError):
    """Workers cannot be started, or their node was lost."""


class TrialError(AutotuneError):
    """Raised inside a trial and recorded as its outcome; never shown as an error."""


class OutOfMemory(TrialError):
    """Host or device memory ran out."""


class NanLoss(TrialError):
    """The training loss is NaN or infinite."""


class Unsupported(TrialError):
    """This model, device or build cannot run the strategy."""


class DeploymentError(TrialError):
    """The trained model cannot be deployed with these settings."""


class StopTrial(TrialError):
    """The search stops this trial early."""


FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
"""Codes of errors for want of space."""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether ``error`` or one of its causes is for want of disk space. Libraries written in Rust
    and C++ pass only the message of the system on."""
    while error is not None:
        if isinstance(error, OSError):
            is_full = error.errno in FULL_DISK
        else:
            is_full = any(os.strerror(code) in str(error) for code in FULL_DISK)
        if is_full:
            return True
        error = error.__cause__
    return False
