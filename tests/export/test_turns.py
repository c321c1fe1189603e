"""The turns that the benchmark of exports is measured in."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import turns


class Alive:
    def poll(self) -> int | None:
        return None


class Dead:
    def poll(self) -> int | None:
        return 1


def test_one_at_a_time_and_all_wait_for_the_last(tmp_path: Path) -> None:
    working = threading.Lock()
    order: list[str] = []
    steps = {"short": 4, "long": 9}

    def train(name: str) -> None:
        seat = turns.Seat(str(tmp_path / "t"), name)
        for step in range(steps[name]):
            assert working.acquire(blocking=False)
            order.append(name)
            time.sleep(0.002)
            working.release()
            seat.step(turns.TURN_SECONDS / 2, last=step == steps[name] - 1)
        order.append(f"{name} ended")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "t"))
        listener.listen()
        threads = [threading.Thread(target=train, args=(name,)) for name in steps]
        for thread in threads:
            thread.start()
        both: Any = [Alive(), Alive()]
        found = turns.take_turns(listener, both)
        for thread in threads:
            thread.join(10)
    assert {name: len(seconds) for name, seconds in found.items()} == steps
    cycles = [order[start : start + 4] for start in (0, 4)]
    both_ways = (["short", "short", "long", "long"], ["long", "long", "short", "short"])
    assert all(cycle in both_ways for cycle in cycles), "whoever is first, each has its turn"
    assert all("ended" in word for word in order[-2:])


def test_a_process_that_ends_too_early_is_told_of(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "t"))
        listener.listen()
        processes: Any = [Dead()]
        with pytest.raises(SystemExit, match="before its first step"):
            turns.take_turns(listener, processes)
