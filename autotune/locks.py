"""Exclusive locks on files, released by the kernel when the holder dies.

`flock` belongs to the open file, not to the path: the kernel releases it when the last process that
holds a descriptor has ended, even by SIGKILL, and forked processes share it. The package `filelock`
uses the same call, but truncates the file when it opens it. Three of our lock files have content: a
journal of results, and the name of the driver of a study, which an unsuccessful attempt must read.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

READ_WRITE = os.O_RDWR | os.O_CREAT


def lock_file(
    path: Path, *, flags: int = READ_WRITE, mode: int = 0o600, wait: bool = False
) -> int | None:
    """Open ``path`` and lock it. Close the returned descriptor to release the lock.

    Returns ``None`` if another process holds the lock, unless ``wait`` is set.

    :raises OSError: if the file cannot be opened, or its file system has no locks.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC, mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
