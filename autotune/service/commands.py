"""Commands of the command line in processes of their own, in the folder of the owner of a study."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore

from autotune.errors import AutotuneError, UsageError
from autotune.service.config import ServiceConfig
from autotune.service.dispatcher import safe_environment
from autotune.service.files import UserFolder

COMMAND_SECONDS = 300
MAX_COMMANDS = 2
MAX_WAITING = 8
"""Requests that run or wait for a command. Each takes a thread of the service."""

_ERROR = re.compile(r"^error: (.*?)(?:^hint: (.*))?\Z", re.MULTILINE | re.DOTALL)
"""What a command prints to stderr at its end if it fails."""

log = logging.getLogger(__name__)

_processes = BoundedSemaphore(MAX_COMMANDS)
_requests = BoundedSemaphore(MAX_WAITING)


class Busy(AutotuneError):
    """Too many requests wait for a command."""


def run_command(
    config: ServiceConfig, owner: str | None, arguments: Sequence[str], text: str = ""
) -> str:
    """The output of ``autotune`` with ``arguments`` and ``text`` as input. Relative paths are those
    of the files of ``owner``.

    :raises UsageError: with the message of the command.
    :raises Busy: too many other requests wait for a command.
    """
    if not _requests.acquire(blocking=False):
        raise Busy("too many exports and predictions wait", hint="try again in a minute")
    try:
        with _processes, _working_directory(config, owner) as folder:
            done = subprocess.run(
                [sys.executable, "-m", "autotune", *arguments],
                cwd=folder, env=safe_environment(config), input=text,
                capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False,
            )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"autotune {arguments[0]} took more than {COMMAND_SECONDS} seconds"
        ) from None
    finally:
        _requests.release()
    if done.returncode != 0:
        raise _command_error(arguments[0], done)
    return done.stdout


@contextmanager
def _working_directory(config: ServiceConfig, owner: str | None) -> Iterator[Path]:
    if owner is not None:
        yield UserFolder.of_user(config.folder, owner).path
        return
    with TemporaryDirectory() as empty:
        yield Path(empty)


def _command_error(name: str, done: subprocess.CompletedProcess[str]) -> UsageError:
    """The message and the hint that a command printed. One that was killed has printed none; what
    it wrote instead is for the log of the service only."""
    match = _ERROR.search(done.stderr)
    if match is None:
        log.error("autotune %s ended with status %s: %s", name, done.returncode, done.stderr)
        return UsageError(
            f"autotune {name} ended with status {done.returncode}",
            hint="the log of the service has the reason",
        )
    message, hint = (" ".join((part or "").split()) for part in match.groups())
    return UsageError(message, hint=hint or None)
