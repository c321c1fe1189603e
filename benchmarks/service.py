"""The service under load, under faults, and under malformed requests.

    python benchmarks/service.py load                       # 1,000 studies and 100 watchers
    python benchmarks/service.py faults                     # 20 studies and 50 kills
    python benchmarks/service.py faults --studies 4 --kills 8
    AUTOTUNE_FUZZ_REQUESTS=400 pytest tests/service/test_fuzz.py    # more than 10,000 requests

Studies replay a small recorded landscape, so that nothing is trained. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from autotune.client import Client  # noqa: E402
from autotune.domain import State  # noqa: E402
from autotune.errors import AutotuneError  # noqa: E402
from autotune.execution.replay.benchmark import write  # noqa: E402
from autotune.store import open_store  # noqa: E402
from autotune.store.access import AccessTokens, Role  # noqa: E402
from tests.execution.synthetic_benchmark import SPEC, synthetic_benchmark  # noqa: E402

STUDIES, WATCHERS, READS = 1000, 100, 500
FAULT_STUDIES, KILLS, TRIALS = 20, 50, 8
MAX_PAUSE_SECONDS = 4.0
START_SECONDS, END_SECONDS = 120.0, 3600.0


def study(name: str) -> str:
    text = SPEC.replace("study: hills", f"study: {name}")
    text = text.replace("{trials: 100}", f"{{trials: {TRIALS}}}")
    return text + "executor: {kind: replay, landscape: hills.parquet}\n"


class Server:
    """``autotune serve`` in a process of its own."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.workers = folder, workers
        self.storage = f"sqlite:///{folder / 'autotune.db'}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        open_store(self.storage).close()
        tokens = AccessTokens(self.storage)
        self.token = tokens.create("benchmark", Role.ADMIN)
        tokens.close()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "autotune", "serve", "--port", str(self.port), "--workers",
            str(self.workers), "--storage", self.storage, "--folder", str(self.folder / "service"),
        ]  # fmt: skip
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        with Client(self.url, self.token) as client:
            while True:
                try:
                    client.whoami()
                    return
                except AutotuneError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def drivers(self) -> list[psutil.Process]:
        assert self.process is not None
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []


@contextmanager
def server(workers: int) -> Iterator[Server]:
    with TemporaryDirectory(prefix="autotune-service-") as name:
        running = Server(Path(name), workers)
        running.start()
        running.wait()
        landscape = Path(name) / "hills.parquet"
        write(synthetic_benchmark(), landscape)
        with Client(running.url, running.token) as client:
            client.upload(landscape)
        try:
            yield running
        finally:
            if running.process is not None:
                running.process.terminate()
                running.process.wait()


def percentile(seconds: Sequence[float], share: float) -> float:
    """In milliseconds."""
    return round(1000 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))], 1)


def timed(calls: Sequence[Callable[[], httpx.Response]], rate: float) -> list[float]:
    """Seconds of each call, at ``rate`` calls a second."""
    seconds = []
    for call in calls:
        start = time.perf_counter()
        call().raise_for_status()
        seconds.append(time.perf_counter() - start)
        time.sleep(max(0.0, 1 / rate - seconds[-1]))
    return seconds


def measure_load(options: argparse.Namespace) -> dict[str, Any]:
    """Latencies with many studies in the queue and many watchers, and the memory of the server."""
    studies, num_watchers = options.studies or STUDIES, options.watchers
    with server(workers=0) as running:
        headers = {"Authorization": f"Bearer {running.token}"}
        with httpx.Client(base_url=running.url, headers=headers, timeout=120) as http:
            submits = timed([partial(submit, http, n) for n in range(studies)], rate=40.0)
            stop = threading.Event()
            watchers = [
                threading.Thread(target=watch, args=(running, f"s{n}", stop), daemon=True)
                for n in range(min(num_watchers, studies))
            ]
            for thread in watchers:
                thread.start()
            rng = random.Random(0)
            paths = ["/v1/studies", "/v1/studies/s{}", "/v1/me", "/v1/files", "/health"]
            chosen = [rng.choice(paths).format(rng.randrange(studies)) for _ in range(READS)]
            reads = timed([partial(http.get, path) for path in chosen], rate=20.0)
        assert running.process is not None
        memory = psutil.Process(running.process.pid).memory_info().rss / 2**20
        stop.set()
    return {
        "studies": studies, "watchers": len(watchers),
        "submit_p95_ms": percentile(submits, 0.95), "submit_p50_ms": percentile(submits, 0.5),
        "read_p95_ms": percentile(reads, 0.95), "read_p50_ms": percentile(reads, 0.5),
        "server_mib": round(memory),
    }  # fmt: skip


def submit(http: httpx.Client, number: int) -> httpx.Response:
    return http.post("/v1/studies", content=study(f"s{number}"))


def watch(running: Server, name: str, stop: threading.Event) -> None:
    headers = {"Authorization": f"Bearer {running.token}"}
    try:
        with httpx.stream(
            "GET", f"{running.url}/v1/studies/{name}/events", headers=headers, timeout=None
        ) as answer:
            for _ in answer.iter_lines():
                if stop.is_set():
                    return
    except httpx.HTTPError:
        return


def measure_faults(options: argparse.Namespace) -> dict[str, Any]:
    """Kill the service or a driver at random moments while studies run; what is lost."""
    rng, kills = random.Random(1), Counter[str]()
    with server(workers=2) as running:
        names = [f"s{number}" for number in range(options.studies or FAULT_STUDIES)]
        with Client(running.url, running.token) as client:
            for name in names:
                client.submit(Text(study(name)))
        while sum(kills.values()) < options.kills:
            time.sleep(rng.uniform(0.5, MAX_PAUSE_SECONDS))
            drivers = running.drivers()
            if rng.random() < 0.5 and drivers:
                rng.choice(drivers).kill()
                kills["driver"] += 1
            else:
                running.kill()
                running.start()
                kills["service"] += 1
        running.wait()
        states = wait_for_end(running)
        return {**check_results(running, names), "kills": dict(kills), "states": dict(states)}


def wait_for_end(running: Server) -> Counter[str]:
    deadline = time.monotonic() + END_SECONDS
    with Client(running.url, running.token) as client:
        while True:
            states = Counter(str(entry["state"]) for entry in client.studies())
            if not states["queued"] + states["running"] or time.monotonic() > deadline:
                return states
            time.sleep(1.0)


def check_results(running: Server, names: Sequence[str]) -> dict[str, Any]:
    """Studies without their trials, and strategies that ran to their end twice."""
    store = open_store(running.storage, read_only=True)
    lost, twice = [], []
    for name in names:
        trials = store.trials(name) if name in store.studies() else []
        complete = [t for t in trials if t.state.is_finished and t.state is not State.INTERRUPTED]
        if sum(trial.counts_against_budget for trial in complete) < TRIALS:
            lost.append(name)
        runs = [t for t in complete if t.state is State.COMPLETE]
        keys = Counter((t.strategy.key, t.seed, t.origin) for t in runs)
        if any(count > 1 for count in keys.values()):
            twice.append(name)
    store.close()
    return {"lost": lost, "twice": twice}


class Text:
    """A study as text."""

    def __init__(self, text: str) -> None:
        self.text = text


def main() -> None:
    measurements = {"load": measure_load, "faults": measure_faults}
    parser = argparse.ArgumentParser(description="Measure the service")
    parser.add_argument("measurement", choices=measurements)
    parser.add_argument("--studies", type=int, help=f"default: {STUDIES}, or {FAULT_STUDIES}")
    parser.add_argument("--watchers", type=int, default=WATCHERS)
    parser.add_argument("--kills", type=int, default=KILLS)
    options = parser.parse_args()
    os.environ.pop("AUTOTUNE_REMOTE", None)
    print(json.dumps(measurements[options.measurement](options), indent=2))


if __name__ == "__main__":
    main()
