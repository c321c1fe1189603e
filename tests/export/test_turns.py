"""The turns in which the benchmark of exports runs its processes."""

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


def test_one_process_at_a_time_runs_and_all_wait_for_the_last(tmp_path: Path) -> None:
    running = threading.Lock()
    order: list[str] = []
    steps = {"short": 4, "long": 9}

    def train(name: str) -> None:
        client = turns.TurnClient(str(tmp_path / "t"), name)
        for step in range(steps[name]):
            assert running.acquire(blocking=False)
            order.append(name)
            time.sleep(0.002)
            running.release()
            client.step(turns.TURN_SECONDS / 2, last=step == steps[name] - 1)
        order.append(f"{name} ended")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "t"))
        listener.listen()
        threads = [threading.Thread(target=train, args=(name,)) for name in steps]
        for thread in threads:
            thread.start()
        both: Any = [Alive(), Alive()]
        step_seconds = turns.take_turns(listener, both)
        for thread in threads:
            thread.join(10)
    assert {name: len(seconds) for name, seconds in step_seconds.items()} == steps
    cycles = [order[start : start + 4] for start in (0, 4)]
    both_orders = (["short", "short", "long", "long"], ["long", "long", "short", "short"])
    assert all(cycle in both_orders for cycle in cycles), "in either order, each has its turn"
    assert all("ended" in word for word in order[-2:])


def test_a_process_that_ends_too_early_is_an_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "t"))
        listener.listen()
        processes: Any = [Dead()]
        with pytest.raises(SystemExit, match="before its first step"):
            turns.take_turns(listener, processes)
