"""Latency of a server under load."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from pathlib import Path

from autotune.deployment.environment import module_environment
from autotune.deployment.pipeline import Row
from autotune.errors import ExecutionError
from autotune.measure.statistics import percentile

START_TIMEOUT_SECONDS = 300.0
END_TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.05
REQUEST_TIMEOUT_SECONDS = 60.0
WARMUP_REQUESTS = 10


@dataclass(frozen=True)
class LoadResult:
    """Latencies (ms) of requests of one row, sent by ``concurrency`` clients without a pause."""

    concurrency: int
    requests: int
    requests_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@contextmanager
def running_server(artifact: Path, threads: int | None = None) -> Iterator[tuple[str, int]]:
    """Serve ``artifact`` in a process of its own; its host and port, once it is ready.

    Raises :class:`ExecutionError` with its output if it ends before.
    """
    with tempfile.TemporaryDirectory(prefix="autotune-bench-") as name:
        address_file, log = Path(name, "address.json"), Path(name, "log")
        options = [] if threads is None else ["--threads", str(threads)]
        command = [sys.executable, "-m", "autotune.deployment", str(artifact.resolve()),
                   "--port", "0", "--address-file", str(address_file), *options]  # fmt: skip
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                command, env=module_environment(), stdout=output, stderr=output
            )
        try:
            yield _wait_until_ready(process, address_file, log)
        finally:
            process.terminate()
            try:
                process.wait(END_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(
    process: subprocess.Popen[bytes], address_file: Path, log: Path
) -> tuple[str, int]:
    end = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            address = json.loads(address_file.read_bytes())
            if _status(address["host"], address["port"]) == 200:
                return address["host"], address["port"]
        except (OSError, ValueError):
            pass  # the file is not written yet, or only in part
        time.sleep(POLL_SECONDS)
    if process.poll() is None:
        raise ExecutionError(f"the server was not ready after {START_TIMEOUT_SECONDS:g} s")
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise ExecutionError(f"the server did not start: {lines[-1] if lines else 'no output'}")


def _status(host: str, port: int) -> int:
    connection = HTTPConnection(host, port, timeout=REQUEST_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status
    finally:
        connection.close()


def measure_load(
    address: tuple[str, int], rows: Sequence[Row], concurrency: int, seconds: float
) -> LoadResult:
    """Send requests of one row for ``seconds``. Raises :class:`ExecutionError` if one fails."""
    clients = [_Client(address, rows[index:] or rows) for index in range(concurrency)]
    for client in clients:
        client.send(WARMUP_REQUESTS)
    start = time.perf_counter()
    workers = [
        threading.Thread(target=client.send_until, args=(start + seconds,)) for client in clients
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    elapsed = time.perf_counter() - start
    for client in clients:
        client.close()
    if failure := next((c.failure for c in clients if c.failure is not None), None):
        raise ExecutionError(f"a request failed: {failure}")
    times = [milliseconds for client in clients for milliseconds in client.times]
    return LoadResult(
        concurrency,
        len(times),
        len(times) / elapsed,
        *(percentile(times, fraction) for fraction in (0.5, 0.95, 0.99)),
    )


class _Client:
    """Sends one request after the other on one connection."""

    def __init__(self, address: tuple[str, int], rows: Sequence[Row]) -> None:
        self.times: list[float] = []
        self.failure: str | None = None
        self._connection = HTTPConnection(*address, timeout=REQUEST_TIMEOUT_SECONDS)
        self._bodies = cycle([json.dumps({"rows": [row]}).encode() for row in rows])

    def send(self, count: int) -> None:
        """Send requests that are not counted."""
        for _ in range(count):
            self._request()
        self.times.clear()

    def send_until(self, end: float) -> None:
        """Send requests until ``end`` (of :func:`time.perf_counter`), at least one."""
        while self.failure is None:
            self._request()
            if time.perf_counter() >= end:
                break

    def close(self) -> None:
        self._connection.close()

    def _request(self) -> None:
        start = time.perf_counter()
        try:
            self._connection.request("POST", "/predict", next(self._bodies))
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, HTTPException) as error:
            self.failure = str(error)
            return
        self.times.append((time.perf_counter() - start) * 1e3)
        if response.status != 200:
            self.failure = body.decode(errors="replace")[:200]
