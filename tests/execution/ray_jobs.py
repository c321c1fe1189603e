"""What the tests of lost nodes and actors run on Ray."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil

from autotune.domain import Completed, CurvePoint, Job, Outcome, TrialResult
from autotune.ports import Report
from autotune.trial.data import cache


def evaluate(job: Job, report: Report) -> Outcome:
    """Do what the strategy says, and say where."""
    report(CurvePoint(1, 2, 8, 0.1, 0.5))
    said = ACTIONS[str(job.strategy["do"])](Path(job.directory))
    told = {"pid": os.getpid(), "device": job.strategy.get("device", "?"), **(said or {})}
    return Completed(TrialResult(environment=told))


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


def gather(directory: Path) -> dict[str, Any]:
    """What all ranks say of where they are, exchanged by gloo."""
    import torch.distributed as dist

    rank = _join()
    names = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "RAY_RAYLET_PID")
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, [os.environ.get(name, "?") for name in names])
    dist.destroy_process_group()
    return {"rank": rank, "ranks": found}


def lose_the_last_rank(directory: Path) -> None:
    """The last rank is killed while the others wait for it."""
    import torch.distributed as dist

    if _join() == dist.get_world_size() - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


def hang_apart_the_first_time(directory: Path) -> dict[str, Any]:
    """The first run hangs once all ranks have met; the second exchanges as above."""
    import torch.distributed as dist

    if (directory / "pid").exists():
        return gather(directory)
    if _join() == 0:
        hang_the_first_time(directory)
    dist.barrier()
    return {}


def _join() -> int:
    import torch

    from autotune.levers.layout import Layout
    from autotune.trial.distributed.collectives import join_process_group

    world = int(os.environ["WORLD_SIZE"])
    return join_process_group(Layout("ddp", world), torch.device("cpu")).rank


def see_gpus(directory: Path) -> dict[str, Any]:
    """Wait until the other of two jobs runs too, and say which GPUs this one sees."""
    (directory / "here").touch()
    other = directory.parent / str(1 - int(directory.name)) / "here"
    while not other.exists():
        time.sleep(0.01)
    return {"visible": os.environ.get("CUDA_VISIBLE_DEVICES")}


def prepare(directory: Path) -> None:
    """What every trial needs and each node makes once, in its cache; makers are counted."""

    def build(folder: Path) -> None:
        time.sleep(0.5)
        (folder / "data").write_text("prepared")
        (directory.parent / f"built-by-{os.getpid()}").touch()

    cache.get_or_build("counted", "one", build)


ACTIONS = {
    action.__name__: action
    for action in (
        nothing,
        hang_the_first_time,
        kill_the_agent,
        gather,
        lose_the_last_rank,
        hang_apart_the_first_time,
        see_gpus,
        prepare,
    )
}
