"""The forkserver: imports what trials need once, then forks a clean worker on every request.

It is a process of its own with a single thread, started by :mod:`autotune.execution.spawner`. On
its control socket each byte, carried with two file descriptors, asks for one worker: the worker's
end of its private socket, and a pipe on which the worker says its process id and the forkserver,
later, how it ended. When the driver goes away, however it went, the socket closes; then every
worker is ended with all it has started. Whoever ordered a worker from another machine has a socket
in place of the pipe, and ends the worker by hanging up.

:mod:`multiprocessing` has a forkserver too. It is one per process, imports the caller's main
module, and leaves workers running when the driver is killed, hence this one.
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

STATUS = struct.Struct("i")
"""How a process id, and then an exit code, are written to a worker's status pipe."""

ORPHAN_CHECK_SECONDS = 0.5


def serve(control_fd: int, modules: Sequence[str], driver: int) -> NoReturn:
    """Import ``modules``, then fork workers until the driver (a process id) hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import_all(modules, driver)
    Server(socket.socket(fileno=control_fd)).run()
    os._exit(0)


def _import_all(modules: Sequence[str], driver: int) -> None:
    """Import, which takes seconds, but give up when the driver dies meanwhile."""
    signal.signal(signal.SIGALRM, lambda *_: None if os.getppid() == driver else os._exit(1))
    signal.setitimer(signal.ITIMER_REAL, ORPHAN_CHECK_SECONDS, ORPHAN_CHECK_SECONDS)
    for name in modules:
        importlib.import_module(name)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    gc.freeze()  # so that collecting in a worker does not copy pages shared with this process


class Server:
    """Forks on request, and tells how each worker ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._status: dict[int, int] = {}

    def run(self) -> None:
        """Serve until the control socket closes, then end all workers."""
        self._died, alarm = os.pipe()
        os.set_blocking(alarm, False)
        signal.set_wakeup_fd(alarm)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as self._ready:
            ready = self._ready
            ready.register(self._control, selectors.EVENT_READ)
            ready.register(self._died, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    if key.fd == self._died:
                        self._reap()
                    elif key.data is not None:
                        self._hung_up(key.data)
                    elif not self._fork():
                        self._end_all()
                        return

    def _fork(self) -> bool:
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
            self._ready.register(status, selectors.EVENT_READ, data=pid)
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
            os.write(status, STATUS.pack(os.getpid()))
            os.close(status)
            worker.main(connection)
        finally:
            os._exit(1)

    def _hung_up(self, pid: int) -> None:
        if pid in self._status:
            self._ready.unregister(self._status[pid])
            _end_group(pid)

    def _reap(self) -> None:
        os.read(self._died, 4096)
        for pid in list(self._status):
            ended, how = os.waitpid(pid, os.WNOHANG)
            if ended:
                _end_group(pid)
                self._tell(pid, os.waitstatus_to_exitcode(how))

    def _tell(self, pid: int, code: int) -> None:
        status = self._status.pop(pid)
        with contextlib.suppress(KeyError):  # a pipe, or one that hung up
            self._ready.unregister(status)
        try:
            os.write(status, STATUS.pack(code))
        except (ConnectionError, TimeoutError):
            pass  # the driver does not wait for this worker any more
        finally:
            os.close(status)

    def _end_all(self) -> None:
        for pid in self._status:
            _end_group(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # for one that has yet to make its group


def _is_socket(descriptor: int) -> bool:
    return stat.S_ISSOCK(os.fstat(descriptor).st_mode)


def _end_group(pid: int) -> None:
    """End what a worker has started, and itself if it still runs."""
    # No such group: all are gone. Not permitted: macOS says so where only zombies are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
