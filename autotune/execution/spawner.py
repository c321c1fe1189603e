"""The driver's side of the forkserver: start it, ask it for workers, and leave nothing behind."""

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

# The modules of the driver, by its own path, whatever directory or installation they come from.
SINGLE_THREADED = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""OpenBLAS and Arrow's allocator start threads on import, and threads do not survive a fork."""

ORDER = b"+"
"""What is sent, with two descriptors, to ask for a worker."""

_BOOT = """
import json, sys
order = json.loads(sys.argv[1])
sys.path[:] = order["path"]
from autotune.execution.forkserver import serve
serve(order["control"], order["modules"], order["driver"])
"""


class Worker:
    """One worker process as its driver sees it."""

    def __init__(self, pid: int, connection: Connection, status: int) -> None:
        self.pid = pid
        self.connection = connection
        self.status = status
        """A file descriptor that becomes readable when the worker has ended."""
        self._alive = True

    def kill(self) -> None:
        """End the worker and all it has started, at once. Idempotent."""
        if not self._alive:
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # it ended just now; its status says so

    def ended(self) -> bool:
        """Whether the worker has ended, without waiting."""
        return not self._alive or bool(wait([self.status], timeout=0))

    def collect(self) -> int | None:
        """Wait for the worker's end and return its exit code (negative: the signal that ended it),
        or ``None`` when the forkserver is lost; its workers are then ended here."""
        code = read_status(self.status)
        if code is None:
            self.kill()
        self._alive = False
        self.connection.close()
        os.close(self.status)
        return code


class Spawner:
    """Starts the forkserver in the background at once, and again should it ever be lost."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = tuple(modules)
        self._server, self._control, self._output = _start(self._modules)

    def spawn(self) -> Worker:
        """A fresh worker, waiting for its order.

        :raises ExecutionError: when the forkserver cannot import its modules, with its output.
        """
        try:
            worker = order_worker(self.send_fd)
        except OSError as error:
            raise ExecutionError(self._lost()) from error
        if worker is None:
            raise ExecutionError(self._lost())
        return worker

    def send_fd(self, descriptors: Sequence[int]) -> None:
        """Ask the forkserver for the worker whose ends of connection and status these are."""
        if (self._server.poll() or 0) < 0:  # killed, as the kernel may when memory is short
            self.close()
            self._server, self._control, self._output = _start(self._modules)
        socket.send_fds(self._control, [ORDER], descriptors)

    def close(self) -> None:
        """End the forkserver, and with it whatever worker is left. Idempotent."""
        self._control.close()
        self._server.kill()
        self._server.wait()
        self._output.close()

    def _lost(self) -> str:
        self._server.wait()
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else f"exit code {self._server.returncode}"
        return f"the forkserver that starts workers ended: {last}"


def order_worker(pass_on: Callable[[Sequence[int]], None]) -> Worker | None:
    """A fresh worker from the forkserver behind ``pass_on``; ``None`` where that cannot start it.

    :raises OSError: where ``pass_on`` does.
    """
    ours, theirs = socket.socketpair()
    status, status_end = os.pipe()
    try:
        pass_on([theirs.fileno(), status_end])
    except BaseException:
        ours.close()
        os.close(status)
        raise
    finally:
        theirs.close()
        os.close(status_end)
    pid = read_status(status)
    if pid is None:
        ours.close()
        os.close(status)
        return None
    return Worker(pid, Connection(ours.detach()), status)


def _start(modules: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket, IO[bytes]]:
    """Start a forkserver, its end of the control socket held by nobody else."""
    ours, theirs = socket.socketpair()
    output = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the forkserver)
    order = {
        "path": sys.path,
        "control": theirs.fileno(),
        "modules": modules,
        "driver": os.getpid(),
    }
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(order)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **SINGLE_THREADED},
            start_new_session=True,
        )
    return server, ours, output


def read_status(pipe: int) -> int | None:
    """What is said next on a worker's status pipe, waiting for it; ``None`` where nobody will."""
    try:
        data = os.read(pipe, STATUS.size)
    except (ConnectionError, TimeoutError):  # the machine at the other end is gone
        return None
    return STATUS.unpack(data)[0] if data else None


def call_in_worker(worker: Worker, call: Call, *hang_up: int) -> Any:
    """What ``call`` returns in ``worker``, which then is ended; so it is once any of the
    descriptors ``hang_up`` becomes readable."""
    try:
        worker.connection.send(call)
        # Until then the guard tells of memory, which nobody asked about here.
        while worker.connection in wait([worker.connection, worker.status, *hang_up]):
            match worker.connection.recv():
                case Ended(result):
                    return result
                case Raised(error):
                    raise error
    except (EOFError, ConnectionError):
        pass  # it ended without a word
    finally:
        worker.kill()
        worker.collect()
    raise ExecutionError(f"{call.function.__qualname__} was ended in its worker before it returned")


def require_importable(function: Callable[..., Any]) -> None:
    """Workers import what they run; they have no copy of the driver's main module."""
    if function.__module__ == "__main__" or "<" in function.__qualname__:
        raise ExecutionError(
            f"workers cannot import {function.__module__}.{function.__qualname__}",
            hint="define it at the top of a module and import it from there",
        )
