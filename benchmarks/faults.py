"""Faults on purpose: processes of a search are killed, its database stops, its disk fills.

The trials compute a formula in processes of their own, so that a search of sixty takes seconds.
After each fault the finished trials are compared with those before it; at the end no strategy may
have been measured twice, and no process may be left. Run as
``python benchmarks/faults.py [--kills 200] [--only NAME ...] [--record FILE] [--smoke]``. With a
record, a run that is interrupted continues its kills of drivers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from doomed_search import Result, Search, local, postgres, shared
from driver_kills import kill_drivers

from autotune.domain import FailureReason

DISK_BYTES = 1_500_000
"""Size of the disk that fills: less than the write-ahead log of SQLite grows to."""


def _kill_processes(folder: Path, times: int, name: str, depth: int, **levers: str) -> Result:
    search = local(folder, trials=8 + 6 * times, **levers)
    search.start()
    search.wait_for(3)
    kills = 0
    for _ in range(times):
        kills += search.kill_process(depth)
        search.compare()
        search.wait_for(4)
    return search.result(f"{name} killed", kills)


def kill_workers(folder: Path, times: int) -> Result:
    return _kill_processes(folder, max(2, times // 10), "worker", 2)


def kill_forkservers(folder: Path, times: int) -> Result:
    return _kill_processes(folder, max(2, times // 10), "forkserver", 1)


def kill_ranks(folder: Path, times: int) -> Result:
    return _kill_processes(folder, max(2, times // 20), "rank", 3, parallelism="ddp:2")


def exceed_memory(folder: Path, times: int) -> Result:
    """A quarter of the strategies needs twice the memory that a trial may use."""
    search = local(folder, trials=max(20, times // 4), hungry=True)
    search.start()
    search.end()
    short = sum(trial.failure is FailureReason.OUT_OF_MEMORY for trial in search.trials())
    return search.result("memory short", short)


def fill_disk(folder: Path, times: int) -> Result:
    """The disk of the database fills, gets larger, and the search is resumed."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        return Result("disk full", 0, 0, 0, 0, 0, "not tried: only root can mount a small disk")
    try:
        search = local(folder, trials=max(60, times))
        search.start()
        search.end()
        text = search.error()
        search.compare()
        subprocess.run(["mount", "-o", "remount,size=200m", str(folder)], check=True)
        search.start()
        return search.result("disk full", 1, f"{text}; resumed to the end")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def kill_one_of_two_drivers(folder: Path, times: int) -> Result:
    """Two drivers share a study; the first is killed and started again."""
    kills = max(2, times // 20)
    with postgres() as server:
        one = shared(server, folder, 10 + 4 * kills)
        other = Search(one.url, one.drive, one.arguments)
        one.start()
        other.start()
        for _ in range(kills):
            one.wait_for(2)
            one.kill()
            one.compare()
            one.start()
        other.end()
        return one.result("one of two drivers killed", kills)


def stop_database(folder: Path, times: int) -> Result:
    """PostgreSQL is stopped at once (as by a crash) and started again after two seconds."""
    stops = max(2, times // 50)
    with postgres() as server:
        search = shared(server, folder, 10 + 6 * stops)
        search.start()
        for _ in range(stops):
            search.wait_for(3)
            server.stop()
            time.sleep(2.0)
            server.start()
            search.compare()
        return search.result("PostgreSQL restarted", stops)


def cut_connections(folder: Path, times: int) -> Result:
    """The server ends all connections of the search."""
    import psycopg

    cuts = max(2, times // 10)
    with postgres() as server:
        search = shared(server, folder, 10 + 4 * cuts)
        search.start()
        with psycopg.connect(search.url.replace("+psycopg", ""), autocommit=True) as connection:
            for _ in range(cuts):
                search.wait_for(2)
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                search.compare()
        return search.result("connections cut", cuts)


def lose_actors_and_nodes(folder: Path, times: int) -> Result:
    """On a Ray cluster, the actor of a trial is killed, and its node is replaced, in turn."""
    from ray.cluster_utils import Cluster

    from tests.execution.ray_clusters import OBJECT_STORE, kill_actors

    faults = max(2, times // 50)
    node = {"num_cpus": 2, "object_store_memory": OBJECT_STORE}
    head = {**node, "num_cpus": 0, "include_dashboard": False}
    with postgres() as server, ExitStack() as stack:
        cluster = Cluster(initialize_head=True, head_node_args=head)
        stack.callback(cluster.shutdown)
        worker = cluster.add_node(**node)
        search = shared(server, folder, 8 + 4 * faults, cluster.address)
        search.start()
        for number in range(faults):
            search.wait_for(3)
            if number % 2 == 0:
                kill_actors(cluster, "RayTrial")
            else:
                cluster.remove_node(worker, allow_graceful=False)
                worker = cluster.add_node(**node)
            search.compare()
        return search.result("Ray actor or node lost", faults)


FAULTS: Mapping[str, Callable[[Path, int], Result]] = {
    "drivers": kill_drivers,
    "workers": kill_workers,
    "ranks": kill_ranks,
    "forkservers": kill_forkservers,
    "memory": exceed_memory,
    "disk": fill_disk,
    "two-drivers": kill_one_of_two_drivers,
    "database": stop_database,
    "connections": cut_connections,
    "ray": lose_actors_and_nodes,
}

SMOKE = ("drivers", "workers", "forkservers", "memory", "disk", "connections")
"""The faults that a test tries, few times each: without torch and Ray."""


def run(names: Sequence[str], times: int, record: Path | None = None) -> list[Result]:
    faults: dict[str, Callable[[Path, int], Result]] = dict(FAULTS)
    faults["drivers"] = partial(kill_drivers, record=record)
    results = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="autotune-fault-") as folder:
            directory = Path(folder) / name
            directory.mkdir()
            results.append(faults[name](directory, times))
            print(row(results[-1]), flush=True)
    return results


HEADER = (
    "| fault | times | finished trials | lost or changed | measured twice | processes left | then |"
    "\n|---|---|---|---|---|---|---|"
)


def row(result: Result) -> str:
    cells = (result.fault, result.times, result.finished, result.changed, result.doubled,
             result.processes_left, result.then)  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="kills of drivers; others have less")
    parser.add_argument("--only", nargs="*", choices=list(FAULTS), help="these faults only")
    parser.add_argument("--record", type=Path, help="file of the rounds of kills of drivers")
    parser.add_argument("--smoke", action="store_true", help="a few times, without torch and Ray")
    arguments = parser.parse_args()
    names = arguments.only or (SMOKE if arguments.smoke else tuple(FAULTS))
    os.environ["AUTOTUNE_LOCKS"] = tempfile.mkdtemp(prefix="autotune-locks-")  # no other searches
    print(HEADER)
    results = run(names, 5 if arguments.smoke else arguments.kills, arguments.record)
    if any(r.changed or r.doubled or r.processes_left for r in results):
        sys.exit("a finished trial was lost, changed or doubled, or a process is left")


if __name__ == "__main__":
    main()
