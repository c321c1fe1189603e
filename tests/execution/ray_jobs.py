"""Jobs that the tests of lost nodes and actors run on Ray."""

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
    """Run the action that the strategy names; report process id and device."""
    report(CurvePoint(1, 2, 8, 0.1, 0.5))
    extra = ACTIONS[str(job.strategy["do"])](Path(job.directory))
    environment = {"pid": os.getpid(), "device": job.strategy.get("device", "?"), **(extra or {})}
    return Completed(TrialResult(environment=environment))


def nothing(directory: Path) -> None:
    pass


def hang_the_first_time(directory: Path) -> None:
    """The first run writes its process id and never ends."""
    first = directory / "pid"
    if not first.exists():
        draft = directory / "draft"
        draft.write_text(str(os.getpid()))
        draft.rename(first)
        time.sleep(600)


def kill_the_agent(directory: Path) -> None:
    """Kill the agent: the parent of the forkserver that has forked this process."""
    agent = psutil.Process(os.getppid()).parent()
    assert agent is not None
    agent.kill()
    time.sleep(600)


def gather(directory: Path) -> dict[str, Any]:
    """Environment variables of all ranks, exchanged by gloo."""
    import torch.distributed as dist

    rank = _join()
    names = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "RAY_RAYLET_PID")
    ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, [os.environ.get(name, "?") for name in names])
    dist.destroy_process_group()
    return {"rank": rank, "ranks": ranks}


def lose_the_last_rank(directory: Path) -> None:
    """Kill the last rank while the others wait for it."""
    import torch.distributed as dist

    if _join() == dist.get_world_size() - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


def hang_apart_the_first_time(directory: Path) -> dict[str, Any]:
    """The first run hangs after the rendezvous; the second runs :func:`gather`."""
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
    """Wait until the other of two jobs runs too; report the visible GPUs."""
    (directory / "here").touch()
    other = directory.parent / str(1 - int(directory.name)) / "here"
    while not other.exists():
        time.sleep(0.01)
    return {"visible": os.environ.get("CUDA_VISIBLE_DEVICES")}


def prepare(directory: Path) -> None:
    """Build an entry of the node's cache, and count the builds."""

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
