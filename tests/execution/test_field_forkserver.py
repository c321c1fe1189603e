"""A forkserver that is killed while it is asked for a worker."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import closing

from autotune.execution.spawner import Spawner


def test_field_a_request_survives_the_end_of_the_forkserver() -> None:
    with closing(Spawner(())) as spawner:
        server = spawner._server
        os.kill(server.pid, signal.SIGSTOP)  # the request waits
        threading.Timer(0.3, server.kill).start()
        worker = spawner.spawn()
        assert spawner._server.pid != server.pid
        assert worker.pid > 0
