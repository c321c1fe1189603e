"""Everything that can go wrong, as one tree.

::

    AutotuneError                what a user may see: message, hint, exit code
    ├── UsageError               wrong input; exit code 2
    │   ├── SpecError            a study file has mistakes; carries all of them
    │   ├── ExpressionError      a condition, rule or constraint cannot be read
    │   ├── DataError            the data set cannot be used
    │   ├── ModelError           the model cannot be loaded
    │   ├── NotFoundError        no such study, trial, metric or lever
    │   ├── IncompatibleStudyError   the stored study asks another question
    │   └── MissingExtraError    an optional package is needed; names the extra
    ├── StoreError               the database cannot be used
    │   ├── StoreUnavailableError    unreachable, read-only, full, locked or corrupt
    │   ├── SchemaOutdatedError      older than this version; ``autotune db upgrade``
    │   └── SchemaTooNewError        written by a newer autotune; upgrade the package
    ├── ExecutionError           workers cannot be started or are lost
    └── TrialError               raised inside a trial, becomes its outcome
        ├── OutOfMemory          host or device memory ran out
        ├── NanLoss              the loss is no longer a number
        ├── Unsupported          this model, device or build cannot do what the strategy asks
        └── StopTrial            the search told the trial to stop

Every message says what is wrong and where; ``hint`` says what to type next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class AutotuneError(Exception):
    """Root of all errors that autotune raises on purpose."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses are made from other arguments than the message, and travel between processes.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(
    kind: type[AutotuneError], args: tuple[Any, ...], state: dict[str, Any]
) -> AutotuneError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class UsageError(AutotuneError):
    """The input is wrong; nothing ran and nothing stored was touched."""

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
    """A study file has mistakes. All of them are in :attr:`mistakes`, in file order."""

    def __init__(self, mistakes: Sequence[Mistake], *, hint: str | None = None) -> None:
        super().__init__("\n".join(map(str, mistakes)), hint=hint)
        self.mistakes = tuple(mistakes)


class ExpressionError(UsageError):
    """An expression cannot be read. ``column`` is the 0-based place in its text."""

    def __init__(self, message: str, *, column: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.column = column


class DataError(UsageError):
    """The data set cannot be used for the task."""


class ModelError(UsageError):
    """The model cannot be loaded or is no encoder that autotune can fine-tune."""


class NotFoundError(UsageError):
    """A named thing does not exist; the message lists the nearest names."""


class IncompatibleStudyError(UsageError):
    """A study of this name exists and differs in what its numbers mean."""


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


class SchemaOutdatedError(StoreError):
    """The database was made by an older autotune."""


class SchemaTooNewError(StoreError):
    """The database was made by a newer autotune."""


class ExecutionError(AutotuneError):
    """Workers cannot be started, or the place where they run is gone."""


class TrialError(AutotuneError):
    """Raised inside a trial and recorded as its outcome; never reaches the command line."""


class OutOfMemory(TrialError):
    """Host or device memory ran out."""


class NanLoss(TrialError):
    """The training loss is no longer a finite number."""


class Unsupported(TrialError):
    """This model, device or build cannot do what the strategy asks."""


class StopTrial(TrialError):
    """The search has seen enough of this trial."""
