"""The settings of one instance of the service."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from autotune.store.queue import LEASE_SECONDS

KIB, MIB, GIB = 2**10, 2**20, 2**30


@dataclass(frozen=True)
class ServiceConfig:
    """``storage`` is the URL of the database, ``folder`` the directory of uploads, logs and files
    of trials: the same for all instances. ``workers`` studies run at once on this instance, none
    if 0. ``is_open``: requests need no token.

    A token may send ``burst`` requests at once and ``requests_per_second`` on average.
    ``retry_seconds`` is the time before a webhook that failed is called again; it doubles each
    time. A running study without a change for ``stall_seconds`` is reported as stalled.
    """

    storage: str
    folder: Path
    workers: int = 1
    is_open: bool = False
    executor: str | None = None
    address: str | None = None
    lease_seconds: float = LEASE_SECONDS
    poll_seconds: float = 0.5
    requests_per_second: float = 50.0
    burst: int = 200
    max_file_bytes: int = GIB
    max_user_bytes: int = 10 * GIB
    retry_seconds: float = 5.0
    stall_seconds: float = 1800.0
    instance: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")

    @property
    def runs(self) -> Path:
        """The directory of logs and artifacts of trials."""
        return self.folder / "runs"

    @property
    def logs(self) -> Path:
        """The directory of the logs of drivers."""
        return self.folder / "logs"

    @property
    def overrides(self) -> list[str]:
        """What the instance sets in every study, in the form of ``--set``."""
        if self.executor is None:
            return []
        address = [] if self.address is None else [f"executor.address={self.address}"]
        return [f"executor.kind={self.executor}", *address]
