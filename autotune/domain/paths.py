"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

from autotune.errors import UsageError


def expand_home(path: str | Path) -> Path:
    """``path`` with the home folder in place of ``~`` or ``~user`` at its start.

    :raises UsageError: the folder is not known: there is no such user, or ``HOME`` is not set and
        this user has no entry in the user database.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{path}: the home folder is not known", hint="write the whole path, without ~"
        ) from error
