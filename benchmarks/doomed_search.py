"""Searches that benchmarks/faults.py disturbs, and what is checked after each fault."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psutil

from autotune.domain import State, Trial, TrialOrigin
from autotune.errors import NotFoundError, StoreUnavailableError
from autotune.store import open_store
from tests.store.postgres_server import PostgresServer, server_programs, temporary_server
from tests.tuner import doomed_driver
from tests.tuner.doomed_driver import NAME

TIMEOUT_SECONDS = 180.0
"""Without a further trial for this long, a search counts as stuck."""
END_SECONDS = 5.0
"""How long processes of a search have to end after it."""


@dataclass(frozen=True)
class Result:
    """One row of the table. ``changed`` counts finished trials that were lost or changed."""

    fault: str
    times: int
    finished: int
    changed: int
    doubled: int
    processes_left: int
    then: str


@dataclass
class Search:
    """A search in a process of its own, and what was seen of it."""

    url: str
    drive: Callable[..., None]
    arguments: tuple[Any, ...]
    driver: ForkServerProcess | None = None
    before: dict[int, Trial] = field(default_factory=dict)
    changed: int = 0
    processes: set[psutil.Process] = field(default_factory=set)

    def start(self) -> None:
        self.driver = doomed_driver.start(self.drive, *self.arguments)

    @property
    def database(self) -> Path:
        """The file of the database of :func:`local`."""
        return Path(self.url.removeprefix("sqlite:///"))

    @property
    def exit_code(self) -> int | None:
        return None if self.driver is None else self.driver.exitcode

    def driver_process(self) -> psutil.Process:
        assert self.driver is not None and self.driver.pid is not None
        return psutil.Process(self.driver.pid)

    @property
    def is_alive(self) -> bool:
        return self.driver is not None and self.driver.is_alive()

    def trials(self) -> list[Trial]:
        """All trials with their complete results; none if there is no study yet."""
        try:
            store = open_store(self.url, read_only=True)
        except StoreUnavailableError:
            return []
        try:
            return [store.trial(NAME, trial.number) for trial in store.trials(NAME)]
        except (NotFoundError, StoreUnavailableError):
            return []
        finally:
            store.close()

    def compare(self) -> None:
        """Compare the finished trials with those seen earlier, and note the processes."""
        self.note_processes()
        now = {trial.number: trial for trial in self.trials() if trial.state is State.COMPLETE}
        self.changed += sum(now.get(number) != trial for number, trial in self.before.items())
        self.before = now

    def note_processes(self) -> None:
        if self.driver is not None:
            with suppress(psutil.NoSuchProcess):
                driver = self.driver_process()
                self.processes |= {driver, *driver.children(recursive=True)}

    def wait_for(self, more: int) -> None:
        """Wait until ``more`` trials have finished since the last comparison, or it ends."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self.is_alive and self._count() < len(self.before) + more:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no further trial in {TIMEOUT_SECONDS:.0f} s")
            self.note_processes()
            time.sleep(0.02)

    def _count(self) -> int:
        with suppress(NotFoundError, StoreUnavailableError):
            store = open_store(self.url, read_only=True)
            try:
                return len(store.trials(NAME, states=[State.COMPLETE]))
            finally:
                store.close()
        return 0

    def kill(self) -> None:
        """Kill the driver. It is suspended before its processes are noted, so that none is
        missed."""
        assert self.driver is not None
        with suppress(psutil.NoSuchProcess):
            self.driver_process().suspend()
        self.note_processes()
        self.driver.kill()
        self.driver.join()

    def end(self) -> int | None:
        """Wait for the end of the driver. Returns its exit code."""
        assert self.driver is not None
        while self.is_alive:
            self.note_processes()
            self.driver.join(0.1)
        return self.driver.exitcode

    def result(self, fault: str, times: int, then: str | None = None) -> Result:
        """Run to the end and check everything."""
        code = self.end()
        self.compare()
        trials = self.before.values()
        first_runs = [t for t in trials if t.origin is not TrialOrigin.ISOLATED_RERUN]
        measured = Counter(trial.strategy.key for trial in first_runs)
        return Result(
            fault,
            times,
            len(self.before),
            self.changed,
            sum(number - 1 for number in measured.values()),
            len(running(self.processes)),
            then or f"{'ended as usual' if code == 0 else self.error()}; {self.disturbed()}",
        )

    def error(self) -> str:
        """The message with which the driver of :func:`local` ended, and what to do about it."""
        message = Path(self.arguments[2]) if self.drive is doomed_driver.drive else None
        return message.read_text() if message is not None and message.exists() else "no message"

    def disturbed(self) -> str:
        """The trials that did not complete, by the reason."""
        reasons = Counter(
            str(trial.failure or trial.state)
            for trial in self.trials()
            if trial.state is not State.COMPLETE
        )
        return ", ".join(f"{n} {reason}" for reason, n in reasons.items()) or "no trial disturbed"

    def kill_process(self, depth: int) -> bool:
        """Kill a process of the driver: its forkserver (1), a worker (2) or a rank (3). Returns
        whether there was one before the search ended."""
        while self.is_alive:
            with suppress(psutil.NoSuchProcess):
                level = [self.driver_process()]
                for _ in range(depth):
                    level = [child for parent in level for child in parent.children()]
                self.processes |= set(level)
                if level:
                    random.choice(level).kill()
                    return True
            time.sleep(0.002)
        return False


def running(processes: set[psutil.Process]) -> list[psutil.Process]:
    """Those that still run after :data:`END_SECONDS`."""
    _, alive = psutil.wait_procs(processes, END_SECONDS)
    return [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def local(folder: Path, trials: int, hungry: bool = False, **levers: str) -> Search:
    """A search with a SQLite file in ``folder``."""
    message = folder.with_name(f"{folder.name}.message")
    arguments = (str(folder), trials, str(message), levers, hungry)
    return Search(f"sqlite:///{folder}/doomed.db", doomed_driver.drive, arguments)


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A server for this run."""
    binaries = server_programs()
    if binaries is None:
        raise FileNotFoundError("PostgreSQL is not installed (apt-get install postgresql)")
    with temporary_server(binaries) as server:
        yield server


def shared(server: PostgresServer, folder: Path, trials: int, address: str | None = None) -> Search:
    """A search with a PostgreSQL database, on the Ray cluster at ``address`` if given."""
    url = server.empty_database()
    return Search(url, doomed_driver.share, (url, str(folder), trials, address))
