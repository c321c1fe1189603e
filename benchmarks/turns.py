"""Processes that take turns of half a second, so that a machine's drift affects all alike.

Each process has a :class:`TurnClient` and reports every step to it; between two steps it can have
to wait. One process assigns the turns with :func:`take_turns`. Standard library only: a copy of
this file is added to the folders that are measured.
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
MAX_TURN_SECONDS = 300.0
"""A turn that takes longer is an error."""


class TurnClient:
    """A process that takes turns with the others connected to the socket ``address``."""

    def __init__(self, address: str, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)
        self._file = self._socket.makefile("rw", encoding="utf-8")
        self._step_seconds: list[float] = []
        self._turn_seconds = 0.0
        self._send_and_wait(name)

    def step(self, seconds: float, *, last: bool) -> None:
        """Report a step that took ``seconds``. Returns when the next one may start; after the last
        one, when all other processes have finished too."""
        self._step_seconds.append(seconds)
        self._turn_seconds += seconds
        if last:
            self._send_and_wait(self._step_seconds)
        elif self._turn_seconds >= TURN_SECONDS:
            self._send_and_wait("next")
            self._turn_seconds = 0.0

    def _send_and_wait(self, message: object) -> None:
        self._file.write(json.dumps(message) + "\n")
        self._file.flush()
        self._file.readline()


def take_turns(
    listener: socket.socket, processes: Sequence[subprocess.Popen[bytes]]
) -> dict[str, list[float]]:
    """Give each of ``processes`` its turn until all have finished; return the seconds of their
    steps by name.

    The order is random in every round, because a process affects the state of the machine for the
    one after it.
    """
    clients: dict[str, TextIO] = {}
    listener.settimeout(1.0)
    while len(clients) < len(processes):
        if any(process.poll() is not None for process in processes):
            raise SystemExit("a process has ended before its first step")
        with contextlib.suppress(TimeoutError):
            connection = listener.accept()[0]
            connection.settimeout(MAX_TURN_SECONDS)
            file: TextIO = connection.makefile("rw", encoding="utf-8")
            clients[json.loads(file.readline())] = file
    seconds: dict[str, list[float]] = {}
    rng = random.Random(0)
    while len(seconds) < len(processes):
        for name, file in rng.sample(list(clients.items()), len(clients)):
            if name not in seconds:
                _start_turn(file)
                line = file.readline()
                if not line:
                    raise SystemExit(f"{name} has ended without its last step")
                message = json.loads(line)
                if message != "next":
                    seconds[name] = message
    for file in clients.values():
        _start_turn(file)
    return seconds


def _start_turn(file: TextIO) -> None:
    file.write("go\n")
    file.flush()
