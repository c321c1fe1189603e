"""What the tests of lost nodes and actors run on Ray."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil

from autotune.domain import Completed, CurvePoint, Evidence, Job, Outcome
from autotune.ports import Report


def evaluate(job: Job, report: Report) -> Outcome:
    """Do what the strategy says, and say where."""
    report(CurvePoint(1, 2, 8, 0.1, 0.5))
    ACTIONS[str(job.strategy["do"])](Path(job.directory))
    return Completed(Evidence(environment={"pid": os.getpid()}))


def nothing(directory: Path) -> None:
    pass


def hang_the_first_time(directory: Path) -> None:
    """The first run leaves its process id and never ends."""
    first = directory / "pid"
    if not first.exists():
        draft = directory / "draft"
        draft.write_text(str(os.getpid()))
        draft.rename(first)
        time.sleep(600)


def kill_the_agent(directory: Path) -> None:
    """This process is forked by the forkserver, which the agent has started."""
    agent = psutil.Process(os.getppid()).parent()
    assert agent is not None
    agent.kill()
    time.sleep(600)


ACTIONS = {action.__name__: action for action in (nothing, hang_the_first_time, kill_the_agent)}
