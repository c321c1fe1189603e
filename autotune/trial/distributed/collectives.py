"""The processes of a parallel trial, met and numbered."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore, TCPStore
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from autotune.domain import CurvePoint
from autotune.errors import Unsupported
from autotune.levers.parallelism import Layout
from autotune.measure import memory
from autotune.measure.clock import Window
from autotune.ports import Report
from autotune.trial.data.batching import Indices

T = TypeVar("T")

DEFAULT_PATIENCE_SECONDS = 120.0
MPI = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
"""Set by Open MPI in every process that it starts."""

ON_CUDA = "cpu:gloo,cuda:nccl"
"""Tensors travel by NCCL, and what is said about the trial by gloo."""


def join(layout: Layout, device: torch.device, *, mixed: bool = False) -> DistributedGroup:
    """Meet the other processes; the environment says where, as torchrun's does. A layout of one
    meets nobody. With ``mixed``, ranks have devices of different kinds and talk by way of the host.

    Raises :class:`Unsupported` where fewer or more run than ``layout`` has.
    """
    rank, world = place()
    if world != layout.world:
        raise Unsupported(
            f"parallelism {layout} wants {layout.world} processes, and {world} run",
            hint=f"start it with an executor, or with torchrun --nproc-per-node {layout.world}",
        )
    timeout = timedelta(
        seconds=float(os.environ.get("COLLECTIVE_SECONDS", DEFAULT_PATIENCE_SECONDS))
    )
    how = backend(device, mixed=mixed)
    if how == "mpi":
        dist.init_process_group(how, timeout=timeout)  # mpirun has said who is who
    else:
        store = HashStore() if world == 1 else _store(rank, world, timeout)
        dist.init_process_group(how, store=store, rank=rank, world_size=world, timeout=timeout)
    table = torch.device("cpu") if mixed else device
    shape = (layout.data, layout.model)
    mesh = init_device_mesh(table.type, shape, mesh_dim_names=("data", "model"))
    return DistributedGroup(layout, rank, device, mesh, table)


def place() -> tuple[int, int]:
    """This process's rank and the number of all, as torchrun or Open MPI's mpirun gives them."""
    for rank, world in (("RANK", "WORLD_SIZE"), MPI):
        if rank in os.environ and world in os.environ:
            return int(os.environ[rank]), int(os.environ[world])
    return 0, 1


def backend(device: torch.device, *, mixed: bool = False) -> str:
    """What ranks on ``device`` talk by. MPI, in a torch that was built with it, finds its ranks
    itself, so it serves only those that ``mpirun`` has started."""
    if device.type == "cuda" and not mixed:
        return ON_CUDA
    return "mpi" if dist.is_mpi_available() and MPI[0] in os.environ else "gloo"


def _store(rank: int, world: int, timeout: timedelta) -> TCPStore:
    door = os.environ.get("MASTER_DOOR")
    return TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        world,
        is_master=rank == 0 and "TORCHELASTIC_USE_AGENT_STORE" not in os.environ,
        timeout=timeout,
        master_listen_fd=None if door is None else int(door),
    )


class DistributedGroup:
    """All ranks of a trial. It is the :class:`~autotune.trial.distributed.process_group.ProcessGroup` of each of them.

    ``mesh`` has the dimensions ``data`` (ranks that see different examples) and ``model`` (ranks
    that hold one copy of the model between them). ``table`` is the device by way of which ranks
    exchange: their own, unless they have different ones.
    """

    def __init__(
        self,
        layout: Layout,
        rank: int,
        device: torch.device,
        mesh: DeviceMesh,
        table: torch.device,
    ) -> None:
        self.layout, self.rank, self.device, self.mesh = layout, rank, device, mesh
        self.table = table
        self._speeds = [1.0] * layout.data
        self.data_rank, self.model_rank = divmod(rank, layout.model)
        self.is_main_process = rank == 0
        self._quota, self._wanted = 1, 0.0

    @property
    def over_data(self) -> dist.ProcessGroup:
        return self.mesh.get_group("data")

    @property
    def over_model(self) -> dist.ProcessGroup:
        return self.mesh.get_group("model")

    def set_rank_weights(self, speed: float) -> None:
        """From now on share batches out in proportion to the ranks' speeds, this rank's being
        ``speed``."""
        self._speeds = self._gathered(speed)

    def local_rows(self, rows: Indices) -> tuple[Indices, bool]:
        """The examples of a micro-batch that this rank trains on, dealt out in turn so that long
        and short ones spread. A rank for which none is left runs one that does not count, since
        all ranks must take part: then the second value is false."""
        dealt = rows[self._turns(len(rows)) == self.data_rank]
        return (dealt, True) if len(dealt) else (rows[:1], False)

    def _turns(self, count: int) -> np.ndarray:
        """Whose turn each of ``count`` examples is: always that of the rank furthest behind."""
        speeds = np.array(self._speeds)
        dealt = np.zeros(len(speeds))
        turns = np.zeros(count, dtype=np.int64)
        for place in range(count):
            turns[place] = rank = int(np.argmin((dealt + 1) / speeds))
            dealt[rank] += 1
        return turns

    # ------------------------------------------------------------------------------ as a crew

    def main_process_first(self, function: Callable[[], T]) -> T:
        if self.is_main_process:
            made = function()
            dist.barrier()
            return made
        dist.barrier()
        return function()

    def window_done(self, steps: int, seconds: float, wanted: float) -> bool:
        self._wanted = wanted
        return steps >= self._quota

    def mean(self, losses: Sequence[Tensor], seconds: float) -> float:
        """Also settles how many steps the next window has: as many as take rank 0 its time. A
        decision by each rank's own clock would part them."""
        quota = round(self._quota_for(len(losses), seconds))
        known = torch.zeros(2, device=self.table, dtype=torch.float64)
        known[0] = torch.stack(list(losses)).double().mean()
        known[1] = quota if self.is_main_process else 0.0
        dist.all_reduce(known)
        self._quota = max(1, int(known[1]))
        return float(known[0])

    def _quota_for(self, steps: int, seconds: float) -> float:
        return steps * self._wanted / max(seconds, 1e-9)

    def shard(self, batches: list[T]) -> list[T]:
        return batches[self.rank :: self.layout.world]

    def all_reduce(self, array: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(array)
        dist.all_reduce(tensor)
        return tensor.numpy()

    def merge(self, windows: list[Window]) -> list[Window]:
        """One window for warm-up and one for the rest: the examples of all ranks in the time of the
        slowest."""
        totals = [_totals(windows, warmup) for warmup in (True, False)]
        merged = []
        for warmup, (examples, seconds) in zip((True, False), totals, strict=True):
            known = torch.tensor([examples], dtype=torch.float64)
            slowest = torch.tensor([seconds], dtype=torch.float64)
            dist.all_reduce(known)
            dist.all_reduce(slowest, dist.ReduceOp.MAX)
            if known[0] > 0:
                merged.append(Window(int(known[0]), float(slowest[0]), warmup))
        return merged

    def tell(self, report: Report, point: CurvePoint) -> str | None:
        """Rank 0 tells and hears; the others give a sign of life, and hear at a rung."""
        if not self.is_main_process:
            report(CurvePoint(point.step, point.total_steps, point.samples, point.seconds))
        answer: list[Any] = [report(point) if self.is_main_process else None]
        if not point.metrics:
            return None
        dist.broadcast_object_list(answer, src=0, device=torch.device("cpu"))
        reason: str | None = answer[0]
        return reason

    def peaks_gib(self) -> list[float] | None:
        peaks = self._gathered(memory.peak_gib())
        known = [peak for peak in peaks if peak is not None]
        return known if len(known) == len(peaks) else None

    def device_peaks_gib(self) -> tuple[float, float] | None:
        found = [peaks for peaks in self._gathered(memory.device_peaks_gib(self.device)) if peaks]
        return (sum(p[0] for p in found), sum(p[1] for p in found)) if found else None

    def sum(self, known: float | None) -> float | None:
        found = [value for value in self._gathered(known) if value is not None]
        return sum(found) if found else None

    def destroy(self) -> None:
        dist.barrier()
        dist.destroy_process_group()

    def _gathered(self, value: T) -> list[T]:
        found: list[Any] = [None] * self.layout.world
        dist.all_gather_object(found, value)
        return found


def _totals(windows: list[Window], warmup: bool) -> tuple[int, float]:
    chosen = [window for window in windows if window.warmup == warmup]
    return sum(w.examples for w in chosen), sum(w.seconds for w in chosen)
