"""The service under load, under faults, and under malformed requests.

    python benchmarks/service.py                            # all parts, one after the other
    python benchmarks/service.py load                       # 1,000 studies and 100 watchers
    python benchmarks/service.py faults                     # 20 studies and 50 kills
    python benchmarks/service.py faults --studies 4 --kills 8
    python benchmarks/service.py fuzz                       # 10,000 malformed requests
    python benchmarks/service.py --record service.json      # continues where it was interrupted

``load`` measures a server on one core, with SQLite; its figures need a machine without other work.
``faults`` runs two instances on one PostgreSQL, and kills instances, drivers and the database.
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
from contextlib import ExitStack, contextmanager
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
from autotune.store.queue import SubmissionQueue  # noqa: E402
from autotune.store.submissions import SubmissionState  # noqa: E402
from benchmarks.doomed_search import postgres  # noqa: E402
from tests.execution.synthetic_benchmark import SPEC, synthetic_benchmark  # noqa: E402
from tests.store.postgres_server import PostgresServer  # noqa: E402

STUDIES, WATCHERS, READS, SUBMITS = 1000, 100, 500, 200
FAULT_STUDIES, KILLS, TRIALS = 20, 50, 8
INSTANCES, WORKERS = 2, 1
REQUESTS = 10_000
EXAMPLES_PER_ROUND = 20
"""Requests for each route and kind of token in a round, after which the record is written."""
DATABASE_SECONDS = 2.0
"""How long the database stays away."""
MAX_PAUSE_SECONDS = 8.0
START_SECONDS, END_SECONDS = 120.0, 3600.0


def study(name: str) -> str:
    text = SPEC.replace("study: hills", f"study: {name}")
    text = text.replace("{trials: 100}", f"{{trials: {TRIALS}}}")
    return text + "executor: {kind: replay, landscape: hills.parquet}\n"


class Server:
    """One instance: ``autotune serve`` in a process of its own."""

    def __init__(self, storage: str, folder: Path, workers: int, token: str) -> None:
        self.storage, self.folder, self.workers, self.token = storage, folder, workers, token
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "autotune", "serve", "--port", str(self.port), "--workers",
            str(self.workers), "--storage", self.storage, "--folder", str(self.folder / "service"),
        ]  # fmt: skip
        with (self.folder / "service.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)

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
        """Kill the instance and start another one at the same address."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = self._start()

    def restart_if_ended(self) -> None:
        """An instance ends if the database is away when it starts."""
        if self.process.poll() is not None:
            self.process = self._start()

    def drivers(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextmanager
def servers(storage: str, folder: Path, instances: int, workers: int) -> Iterator[list[Server]]:
    """Instances that share ``storage``, with the landscape of the studies uploaded."""
    open_store(storage).close()
    tokens = AccessTokens(storage)
    token = tokens.create("benchmark", Role.ADMIN)
    tokens.close()
    with ExitStack() as stack:
        running = []
        for _ in range(instances):
            running.append(Server(storage, folder, workers, token))
            stack.callback(running[-1].end)
        for instance in running:
            instance.wait()
        write(synthetic_benchmark(), folder / "hills.parquet")
        with Client(running[0].url, token) as client:
            client.upload(folder / "hills.parquet")
        yield running


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
    """Latencies with many studies in the queue and many watchers, and the memory of the server,
    which has one core."""
    studies = options.studies or STUDIES
    with TemporaryDirectory(prefix="autotune-service-") as name, ExitStack() as stack:
        storage = f"sqlite:///{name}/autotune.db"
        (running,) = stack.enter_context(servers(storage, Path(name), 1, 0))
        server = psutil.Process(running.process.pid)
        server.cpu_affinity(server.cpu_affinity()[:1])
        headers = {"Authorization": f"Bearer {running.token}"}
        http = stack.enter_context(httpx.Client(base_url=running.url, headers=headers, timeout=120))
        for number in range(studies):
            timed([partial(submit, http, number)], rate=40.0)
        stop = threading.Event()
        watchers = [
            threading.Thread(target=watch, args=(running, f"s{n}", stop), daemon=True)
            for n in range(min(options.watchers, studies))
        ]
        for thread in watchers:
            thread.start()
        more = range(studies, studies + SUBMITS)
        submits = timed([partial(submit, http, number) for number in more], rate=20.0)
        rng = random.Random(0)
        paths = ["/v1/studies", "/v1/studies/s{}", "/v1/me", "/v1/files", "/health"]
        chosen = [rng.choice(paths).format(rng.randrange(studies)) for _ in range(READS)]
        reads = timed([partial(http.get, path) for path in chosen], rate=20.0)
        memory = server.memory_info().rss / 2**20
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
    """Kill instances, drivers and the database at random moments while studies run; what is lost
    or done twice."""
    names = [f"s{number}" for number in range(options.studies or FAULT_STUDIES)]
    with TemporaryDirectory(prefix="autotune-service-") as name, postgres() as database:
        storage = database.empty_database()
        with servers(storage, Path(name), INSTANCES, WORKERS) as running:
            with Client(running[0].url, running[0].token) as client:
                for study_name in names:
                    client.submit(Text(study(study_name)))
            kills, finished = kill_at_random(running, database, options.kills)
            states = wait_for_end(running)
            missing = finished - finished_trials(storage)
            return {
                **check_results(storage, names),
                "failures": failures(storage),
                "finished_trials_lost": sorted(missing),
                "kills": dict(kills),
                "states": dict(states),
            }


def kill_at_random(
    running: Sequence[Server], database: PostgresServer, count: int
) -> tuple[Counter[str], set[tuple[str, int, str]]]:
    """The kills by what was killed, only those while studies were active, and the trials that were
    finished at the last of them."""
    rng, kills, finished = random.Random(1), Counter[str](), set[tuple[str, int, str]]()
    storage = running[0].storage
    while kills.total() < count and active_studies(storage):
        time.sleep(rng.uniform(0.5, MAX_PAUSE_SECONDS))
        for instance in running:
            instance.restart_if_ended()
        finished |= finished_trials(storage)
        drivers = [driver for instance in running for driver in instance.drivers()]
        target = rng.choice(["database", "driver", "service"])
        if target == "database":
            database.stop()
            time.sleep(DATABASE_SECONDS)
            database.start()
        elif target == "driver" and drivers:
            rng.choice(drivers).kill()
        else:
            target = "service"
            rng.choice(running).kill()
        kills[target] += 1
        print(f"{kills.total()} kills, {len(finished)} trials", file=sys.stderr)
    return kills, finished


def states_of_studies(storage: str) -> Counter[str]:
    queue = SubmissionQueue(storage)
    try:
        return Counter({str(state): n for state, n in queue.count_by_state().items()})
    finally:
        queue.close()


def failures(storage: str) -> dict[str, str | None]:
    """Why studies have failed."""
    queue = SubmissionQueue(storage)
    try:
        failed = [s for s in queue.submissions() if s.state is SubmissionState.FAILED]
        return {submission.study: submission.reason for submission in failed}
    finally:
        queue.close()


def active_studies(storage: str) -> int:
    states = states_of_studies(storage)
    return states["queued"] + states["running"]


def finished_trials(storage: str) -> set[tuple[str, int, str]]:
    """Study, number and state of all trials with a result."""
    store = open_store(storage, read_only=True)
    trials = {
        (name, trial.number, str(trial.state))
        for name in store.studies()
        for trial in store.trials(name)
        if trial.state.is_finished and trial.state is not State.INTERRUPTED
    }
    store.close()
    return trials


def wait_for_end(running: Sequence[Server]) -> Counter[str]:
    deadline = time.monotonic() + END_SECONDS
    storage = running[0].storage
    while active_studies(storage) and time.monotonic() < deadline:
        for instance in running:
            instance.restart_if_ended()
        time.sleep(1.0)
    return states_of_studies(storage)


def check_results(storage: str, names: Sequence[str]) -> dict[str, Any]:
    """Studies without their trials, and strategies that ran to their end twice."""
    store = open_store(storage, read_only=True)
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
    return {"studies_lost": lost, "run_twice": twice}


def measure_fuzz(options: argparse.Namespace) -> dict[str, Any]:
    """Send malformed requests made from the description of the routes, in rounds. The first error
    of the server, or change of what is stored, ends it."""
    from tests.service.test_fuzz import fuzz

    results = read_record(options.record)
    rounds: list[int] = results.setdefault("fuzz_rounds", [])
    while sum(rounds) < options.requests:
        with TemporaryDirectory(prefix="autotune-service-") as name:
            rounds.append(fuzz(Path(name), EXAMPLES_PER_ROUND, seed=len(rounds)))
        write_record(options.record, results)
        print(f"{sum(rounds)} requests", file=sys.stderr)
    return {"requests": sum(rounds), "server_errors": 0, "changes": 0}


def read_record(path: Path | None) -> dict[str, Any]:
    """What is done already."""
    results: dict[str, Any] = {}
    if path is not None and path.exists():
        results = json.loads(path.read_text())
    return results


def write_record(path: Path | None, results: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(results, indent=2))


class Text:
    """A study as text."""

    def __init__(self, text: str) -> None:
        self.text = text


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "load": measure_load,
    "faults": measure_faults,
    "fuzz": measure_fuzz,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the service")
    parser.add_argument("part", nargs="?", choices=PARTS, help="default: all, in this order")
    parser.add_argument("--studies", type=int, help=f"default: {STUDIES}, or {FAULT_STUDIES}")
    parser.add_argument("--watchers", type=int, default=WATCHERS)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--record", type=Path, help="file of the parts that are done")
    options = parser.parse_args()
    os.environ.pop("AUTOTUNE_REMOTE", None)
    parts = [options.part] if options.part else list(PARTS)
    results = read_record(options.record)
    for part in parts:
        if part not in results:
            measured = PARTS[part](options)
            results = {**read_record(options.record), **results, part: measured}
            write_record(options.record, results)
    print(json.dumps({part: results[part] for part in parts}, indent=2))


if __name__ == "__main__":
    main()
