"""Processes that take turns of half a second, so that a machine's drift meets all of them alike.

Each process has a :class:`Seat` and tells it of every step; between two steps it may be made to
wait. One process hands out the turns with :func:`take_turns`. Standard library only: a copy of this
file goes into the folders that are measured.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
from collections.abc import Sequence
from typing import TextIO

TURN_SECONDS = 0.5
PATIENCE_SECONDS = 300.0
"""How long a turn may take."""


class Seat:
    """A process that takes turns with others that have found the socket at ``address``."""

    def __init__(self, address: str, name: str) -> None:
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(address)
        self._file = self._line.makefile("rw", encoding="utf-8")
        self._seconds: list[float] = []
        self._held = 0.0
        self._wait(name)

    def step(self, seconds: float, *, last: bool) -> None:
        """A step has taken ``seconds``. Returns when the next may begin; after the last one, when
        all others have trained too."""
        self._seconds.append(seconds)
        self._held += seconds
        if last:
            self._wait(self._seconds)
        elif self._held >= TURN_SECONDS:
            self._wait("next")
            self._held = 0.0

    def _wait(self, said: object) -> None:
        self._file.write(json.dumps(said) + "\n")
        self._file.flush()
        self._file.readline()


def take_turns(
    listener: socket.socket, processes: Sequence[subprocess.Popen[bytes]]
) -> dict[str, list[float]]:
    """Give each of ``processes`` its turn, again and again until all have trained, in an order that
    is drawn anew each time: whoever always follows the same one finds the machine as that left it.
    Returns the seconds of their steps, by name."""
    waiting: dict[str, TextIO] = {}
    listener.settimeout(1.0)
    while len(waiting) < len(processes):
        if any(process.poll() is not None for process in processes):
            raise SystemExit("a process has ended before its first step")
        with contextlib.suppress(TimeoutError):
            connection = listener.accept()[0]
            connection.settimeout(PATIENCE_SECONDS)
            file: TextIO = connection.makefile("rw", encoding="utf-8")
            waiting[json.loads(file.readline())] = file
    seconds: dict[str, list[float]] = {}
    chance = random.Random(0)
    while len(seconds) < len(processes):
        for name, file in chance.sample(list(waiting.items()), len(waiting)):
            if name not in seconds:
                _go(file)
                line = file.readline()
                if not line:
                    raise SystemExit(f"{name} has ended without its last step")
                said = json.loads(line)
                if said != "next":
                    seconds[name] = said
    for file in waiting.values():
        _go(file)
    return seconds


def _go(file: TextIO) -> None:
    file.write("go\n")
    file.flush()
