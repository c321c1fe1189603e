"""SIGKILLs of a driver at random moments: while it starts, within a trial, within a transaction.

The kills come in rounds. Each round is a search of few trials that is killed and started again
until it has had its kills, and then runs to its end. The rounds that are complete are recorded in a
file, so that a run that is itself interrupted continues with the next round.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import psutil
from doomed_search import TIMEOUT_SECONDS, Result, Search, local

from autotune.domain import State

KILLS_A_ROUND = 10
WRITE_LOCK_BYTE = 120
"""Of the file ``-shm`` of a SQLite database: a process that writes locks it (WAL_WRITE_LOCK)."""


class Moment(StrEnum):
    STARTING = "while it starts"
    WITHIN_A_TRIAL = "within a trial"
    WITHIN_A_TRANSACTION = "within a write transaction"


@dataclass(frozen=True)
class Round:
    """What was seen in one round. ``lost`` counts finished trials that were lost or changed,
    interrupted ones that were not run again, numbers without a trial, and trials that the budget
    has and the study has not."""

    kills: dict[str, int]
    finished: int
    interrupted: int
    lost: int
    doubled: int
    processes_left: int
    ended_as_usual: bool


def kill_drivers(folder: Path, times: int, record: Path | None = None) -> Result:
    """``times`` kills, those of the rounds in the file ``record`` included."""
    rounds = _read(record)
    while (kills := _kills(rounds)) < times:
        number = len(rounds)
        rounds.append(_run_round(folder / str(number), number, min(KILLS_A_ROUND, times - kills)))
        if record is not None:
            with record.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(rounds[-1])) + "\n")
    return _result(rounds)


def _read(record: Path | None) -> list[Round]:
    if record is None or not record.exists():
        return []
    return [Round(**json.loads(line)) for line in record.read_text(encoding="utf-8").splitlines()]


def _kills(rounds: Sequence[Round]) -> int:
    return sum(sum(done.kills.values()) for done in rounds)


def _result(rounds: Sequence[Round]) -> Result:
    moments = Counter[str]()
    for done in rounds:
        moments.update(done.kills)
    kills = ", ".join(f"{count} {moment}" for moment, count in sorted(moments.items()))
    ends = sum(done.ended_as_usual for done in rounds)
    then = f"{ends} of {len(rounds)} searches ended as usual; killed {kills}; "
    return Result(
        "driver killed",
        _kills(rounds),
        sum(done.finished for done in rounds),
        sum(done.lost for done in rounds),
        sum(done.doubled for done in rounds),
        sum(done.processes_left for done in rounds),
        f"{then}{sum(done.interrupted for done in rounds)} trials repeated",
    )


def _run_round(folder: Path, seed: int, times: int) -> Round:
    folder.mkdir()
    rng = random.Random(seed)
    budget = 20 + 2 * times
    search = local(folder, trials=budget)
    kills = Counter[str]()
    for _ in range(times):
        search.start()
        moment = rng.choice(list(Moment))
        _wait_for_moment(search, moment, rng)
        kills[moment] += search.is_alive
        search.kill()
        search.compare()
    search.start()
    result = search.result("driver killed", times)
    trials = search.trials()
    complete = {trial.strategy.key for trial in trials if trial.state is State.COMPLETE}
    interrupted = [trial for trial in trials if trial.state is State.INTERRUPTED]
    not_repeated = sum(trial.strategy.key not in complete for trial in interrupted)
    missing = max(trial.number for trial in trials) + 1 - len(trials)
    return Round(
        {moment: count for moment, count in kills.items() if count},
        result.finished,
        len(interrupted),
        result.changed + not_repeated + missing + abs(budget - result.finished),
        result.doubled,
        result.processes_left,
        search.exit_code == 0,
    )


def _wait_for_moment(search: Search, moment: Moment, rng: random.Random) -> None:
    """Return at the moment. Within a transaction, the driver is suspended, so that it still is in
    it when it is killed."""
    if moment is Moment.WITHIN_A_TRIAL:
        search.wait_for(rng.choice((1, 1, 2)))
    time.sleep(rng.uniform(0.0, 0.5 if moment is Moment.STARTING else 0.2))
    if moment is Moment.WITHIN_A_TRANSACTION:
        suspend_within_transaction(search)


def suspend_within_transaction(search: Search) -> None:
    """Suspend the driver while it holds the write lock of its database, or return if it ends."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while search.is_alive:
        assert time.monotonic() < deadline, "the driver writes nothing"
        with suppress(psutil.NoSuchProcess, FileNotFoundError):
            driver = search.driver_process()
            if not _is_writing(search, driver.pid):
                continue
            driver.suspend()
            while driver.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
                pass
            if _is_writing(search, driver.pid):
                return
            driver.resume()


def _is_writing(search: Search, pid: int) -> bool:
    """Whether a process holds the write lock: Linux lists the locks of all processes."""
    inode = Path(f"{search.database}-shm").stat().st_ino
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        match line.split():
            case [_, "POSIX", _, "WRITE", owner, file, first, last]:
                is_lock = file.endswith(f":{inode}") and int(first) <= WRITE_LOCK_BYTE
                if is_lock and owner == str(pid) and last != "EOF" and int(last) >= WRITE_LOCK_BYTE:
                    return True
    return False
