"""The forkserver: imports what trials need once, then forks a clean worker on each request.

It is a single-threaded process, started by :mod:`autotune.execution.spawner`. Each byte on its
control socket requests one worker and carries two file descriptors: the worker's end of its private
socket, and a pipe on which the worker writes its process id and the forkserver, later, the exit
code. When the driver ends, for whatever reason, the control socket closes, and the forkserver kills
all workers with all they have started. A request from another node has a socket in place of the
pipe; closing it kills the worker.

:mod:`multiprocessing` has a forkserver too. It is one per process, imports the caller's main
module, and leaves workers running when the driver is killed; therefore this one.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import stat
import struct
from collections.abc import Sequence
from typing import NoReturn

from autotune.execution import worker

STATUS = struct.Struct("?i")
"""Format of messages on a worker's status pipe: whether it has ended, and its process id or, at its
end, its exit code. A worker that is killed at once ends without having sent its id."""

ORPHAN_CHECK_SECONDS = 0.5


def serve(control_fd: int, modules: Sequence[str], driver_pid: int) -> NoReturn:
    """Import ``modules``, then fork workers until the driver disconnects."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import_all(modules, driver_pid)
    Server(socket.socket(fileno=control_fd)).run()
    os._exit(0)


def _import_all(modules: Sequence[str], driver_pid: int) -> None:
    """Import ``modules``, which takes seconds; exit if the driver dies meanwhile."""
    signal.signal(signal.SIGALRM, lambda *_: None if os.getppid() == driver_pid else os._exit(1))
    signal.setitimer(signal.ITIMER_REAL, ORPHAN_CHECK_SECONDS, ORPHAN_CHECK_SECONDS)
    for name in modules:
        importlib.import_module(name)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    gc.freeze()  # so that garbage collection in a worker does not copy shared pages


class Server:
    """Forks workers on request and reports their exit codes."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._status: dict[int, int] = {}
        """Status descriptors by process id."""

    def run(self) -> None:
        """Serve until the control socket closes, then kill all workers."""
        self._sigchld_reader, sigchld_writer = os.pipe()
        os.set_blocking(sigchld_writer, False)
        signal.set_wakeup_fd(sigchld_writer)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as self._selector:
            self._selector.register(self._control, selectors.EVENT_READ)
            self._selector.register(self._sigchld_reader, selectors.EVENT_READ)
            while True:
                for key, _ in self._selector.select():
                    if key.fd == self._sigchld_reader:
                        self._reap()
                    elif key.data is not None:
                        self._kill_abandoned(key.data)
                    elif not self._fork():
                        self._kill_all()
                        return

    def _fork(self) -> bool:
        """Fork the requested worker; ``False`` if the control socket is closed."""
        request, descriptors, _, _ = socket.recv_fds(self._control, 1, 2)
        if not request:
            return False
        connection, status = descriptors
        pid = os.fork()
        if pid == 0:
            self._become_worker(connection, status)
        os.close(connection)
        self._status[pid] = status
        if _is_socket(status):
            self._selector.register(status, selectors.EVENT_READ, data=pid)
        return True

    def _become_worker(self, connection: int, status: int) -> NoReturn:
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._control.close()
            for other in self._status.values():
                os.close(other)
            os.write(status, STATUS.pack(False, os.getpid()))
            os.close(status)
            worker.main(connection)
        finally:
            os._exit(1)

    def _kill_abandoned(self, pid: int) -> None:
        """Kill a worker whose requester has closed the status socket."""
        if pid in self._status:
            self._selector.unregister(self._status[pid])
            _kill_group(pid)

    def _reap(self) -> None:
        """Collect the workers that have ended, and kill what they have started."""
        os.read(self._sigchld_reader, 4096)
        for pid in list(self._status):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _kill_group(pid)
                self._report_exit(pid, os.waitstatus_to_exitcode(status))

    def _report_exit(self, pid: int, code: int) -> None:
        status = self._status.pop(pid)
        with contextlib.suppress(KeyError):  # a pipe, or a socket that was closed
            self._selector.unregister(status)
        try:
            os.write(status, STATUS.pack(True, code))
        except (ConnectionError, TimeoutError):
            pass  # the driver no longer waits for this worker
        finally:
            os.close(status)

    def _kill_all(self) -> None:
        for pid in self._status:
            _kill_group(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # in case it has not created its group yet


def _is_socket(descriptor: int) -> bool:
    return stat.S_ISSOCK(os.fstat(descriptor).st_mode)


def _kill_group(pid: int) -> None:
    """Kill a worker and all it has started."""
    # ProcessLookupError: all have ended. PermissionError: macOS, where only zombies are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
