"""The driver side of the forkserver: starts it, requests workers, and leaves no process behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from autotune.errors import ExecutionError
from autotune.execution.forkserver import STATUS
from autotune.execution.messages import Call, Ended, Raised

SINGLE_THREADED = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""OpenBLAS and Arrow's allocator start threads on import, and threads do not survive a fork."""

REQUEST = b"+"
"""Sent with two descriptors to request a worker."""

# The forkserver finds modules by the driver's own path, whatever installation they come from.
_BOOT = """
import json, sys
config = json.loads(sys.argv[1])
sys.path[:] = config["path"]
from autotune.execution.forkserver import serve
serve(config["control"], config["modules"], config["driver"])
"""


class Worker:
    """One worker process as seen by its driver."""

    def __init__(self, pid: int, connection: Connection, status: int) -> None:
        self.pid = pid
        self.connection = connection
        self.status = status
        """A file descriptor that becomes readable when the worker has ended."""
        self._is_alive = True

    def kill(self) -> None:
        """Kill the worker and all it has started. Idempotent."""
        if not self._is_alive:
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # it has just ended; its status says so

    def ended(self) -> bool:
        """Whether the worker has ended; does not wait."""
        return not self._is_alive or bool(wait([self.status], timeout=0))

    def collect(self) -> int | None:
        """Wait for the end of the worker and return its exit code (negative: the signal).

        Returns ``None`` if the forkserver is lost; the worker is then killed here.
        """
        code = read_exit_code(self.status)
        if code is None:
            self.kill()
        self._is_alive = False
        self.connection.close()
        os.close(self.status)
        return code


MAX_STARTS = 3
"""Forkservers that may be killed during one request, for example by the kernel for memory."""


class Spawner:
    """Starts the forkserver in the background, and again if it is lost."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = tuple(modules)
        self._server, self._control, self._output = _start(self._modules)

    def spawn(self) -> Worker:
        """A fresh worker that waits for its order.

        :raises ExecutionError: if the forkserver cannot import its modules, with its output.
        """
        for _ in range(MAX_STARTS):
            try:
                worker = request_worker(self.send_fd)
            except ProcessLookupError:
                continue  # killed before it could start
            except OSError:
                worker = None
            if worker is not None:
                return worker
            if self._server.wait() >= 0:  # it ended by itself; one that was killed starts again
                break
        raise ExecutionError(self._failure())

    def send_fd(self, descriptors: Sequence[int]) -> None:
        """Request a worker with these ends of its connection and its status."""
        if (self._server.poll() or 0) < 0:  # killed, for example by the kernel for memory
            self.close()
            self._server, self._control, self._output = _start(self._modules)
        socket.send_fds(self._control, [REQUEST], descriptors)

    def kill(self) -> None:
        """Kill the forkserver, even a suspended one: whoever waits for it or its workers then
        knows that they are lost. Idempotent; safe from any thread."""
        self._server.kill()

    def close(self) -> None:
        """Kill the forkserver and with it all workers. Idempotent."""
        self._control.close()
        self._server.kill()
        self._server.wait()
        self._output.close()

    def _failure(self) -> str:
        self._server.wait()
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").strip().splitlines()
        cause = lines[-1] if lines else f"exit code {self._server.returncode}"
        return f"the forkserver that starts workers ended: {cause}"


def request_worker(send_fd: Callable[[Sequence[int]], None]) -> Worker | None:
    """A fresh worker from the forkserver behind ``send_fd``; ``None`` if it cannot start one.

    :raises ProcessLookupError: it was killed before it could start.
    :raises OSError: if ``send_fd`` does.
    """
    ours, theirs = socket.socketpair()
    status, status_end = os.pipe()
    try:
        send_fd([theirs.fileno(), status_end])
    except BaseException:
        ours.close()
        os.close(status)
        raise
    finally:
        theirs.close()
        os.close(status_end)
    pid = None
    try:
        pid = read_pid(status)
    finally:
        if pid is None:
            ours.close()
            os.close(status)
    return None if pid is None else Worker(pid, Connection(ours.detach()), status)


def _start(modules: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket, IO[bytes]]:
    """Start a forkserver. No other process inherits its end of the control socket."""
    ours, theirs = socket.socketpair()
    output = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the forkserver)
    config = {
        "path": sys.path,
        "control": theirs.fileno(),
        "modules": modules,
        "driver": os.getpid(),
    }
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(config)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **SINGLE_THREADED},
            start_new_session=True,
        )
    return server, ours, output


def read_pid(pipe: int) -> int | None:
    """Wait for the process id of a new worker; ``None`` if there will be none.

    :raises ProcessLookupError: the worker has ended before it could send its id.
    """
    has_ended, value = _read_status(pipe)
    if has_ended and value is not None:
        raise ProcessLookupError(f"a worker ended with exit code {value} before it started")
    return value


def read_exit_code(pipe: int) -> int | None:
    """Wait for the exit code of a worker; ``None`` if its forkserver is lost."""
    return _read_status(pipe)[1]


def _read_status(pipe: int) -> tuple[bool, int | None]:
    """The next message on a worker's status pipe: whether it has ended, and the value."""
    try:
        data = os.read(pipe, STATUS.size)
    except (ConnectionError, TimeoutError):  # the node at the other end is lost
        data = b""
    return STATUS.unpack(data) if data else (True, None)


def call_in_worker(worker: Worker, call: Call, *stop_fds: int) -> Any:
    """The result of ``call`` in ``worker``, which is then killed. It is also killed when one of
    ``stop_fds`` becomes readable.

    :raises ExecutionError: if the worker ended before it returned.
    """
    try:
        worker.connection.send(call)
        # Memory samples of the watchdog arrive first, and are ignored.
        while worker.connection in wait([worker.connection, worker.status, *stop_fds]):
            match worker.connection.recv():
                case Ended(result):
                    return result
                case Raised(error):
                    raise error
    except (EOFError, ConnectionError):
        pass  # it ended without a result
    finally:
        worker.kill()
        worker.collect()
    raise ExecutionError(f"{call.function.__qualname__} was ended in its worker before it returned")


def require_importable(function: Callable[..., Any]) -> None:
    """Raise unless workers can import ``function``; they have no copy of the driver's main
    module. A callable object is sent as its class and its data."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if function.__module__ == "__main__" or "<" in name:
        raise ExecutionError(
            f"workers cannot import {function.__module__}.{name}",
            hint="define it at the top of a module and import it from there",
        )
