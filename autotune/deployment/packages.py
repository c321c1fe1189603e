"""The packages of the runtimes, which are extras of autotune."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from autotune.domain.runtimes import RUNTIMES
from autotune.errors import MissingExtraError


@contextmanager
def required_packages(runtime: str) -> Iterator[None]:
    """Raise :class:`MissingExtraError` where a block cannot import a package of ``runtime``."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = RUNTIMES[runtime].extra if runtime in RUNTIMES else None
        if extra is None or not package:
            raise
        raise MissingExtraError(package, extra, f"runtime: {runtime}") from error
