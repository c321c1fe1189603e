"""Calls of single functions in workers."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from autotune.errors import ExecutionError
from autotune.execution.messages import Call, Ended, Raised
from autotune.execution.spawner import Worker


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
