"""The process group of a distributed trial."""

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
from autotune.levers.layout import Layout
from autotune.measure import memory
from autotune.measure.clock import Window
from autotune.ports import Report
from autotune.trial.data.batching import Indices

T = TypeVar("T")

DEFAULT_TIMEOUT_SECONDS = 120.0
MPI_VARIABLES = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
"""Set by Open MPI in every process that it starts."""

CUDA_BACKEND = "cpu:gloo,cuda:nccl"
"""NCCL for tensors, gloo for Python objects."""


def join_process_group(
    layout: Layout, device: torch.device, *, mixed: bool = False
) -> DistributedGroup:
    """Connect to the other ranks, which the environment names as torchrun does.

    With ``mixed``, ranks have devices of different types and communicate through the host. Raises
    :class:`Unsupported` if the number of processes is not that of ``layout``.
    """
    rank, world_size = rank_and_world_size()
    if world_size != layout.world:
        raise Unsupported(
            f"parallelism {layout} requires {layout.world} processes; there are {world_size}",
            hint=f"start it with an executor, or with torchrun --nproc-per-node {layout.world}",
        )
    timeout = timedelta(
        seconds=float(os.environ.get("COLLECTIVE_TIMEOUT_SECONDS", DEFAULT_TIMEOUT_SECONDS))
    )
    backend = choose_backend(device, mixed=mixed)
    if backend == "mpi":
        dist.init_process_group(backend, timeout=timeout)  # mpirun provides rank and world size
    else:
        store = HashStore() if world_size == 1 else _store(rank, world_size, timeout)
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=world_size, timeout=timeout
        )
    comm_device = torch.device("cpu") if mixed else device
    shape = (layout.data, layout.model)
    mesh = init_device_mesh(comm_device.type, shape, mesh_dim_names=("data", "model"))
    return DistributedGroup(layout, rank, device, mesh, comm_device)


def rank_and_world_size() -> tuple[int, int]:
    """This process's rank and the number of ranks, as set by torchrun or Open MPI's mpirun."""
    for rank, world_size in (("RANK", "WORLD_SIZE"), MPI_VARIABLES):
        if rank in os.environ and world_size in os.environ:
            return int(os.environ[rank]), int(os.environ[world_size])
    return 0, 1


def choose_backend(device: torch.device, *, mixed: bool = False) -> str:
    """The communication backend for ranks on ``device``. MPI finds its ranks itself, so it is used
    only by a torch built with it, in processes that ``mpirun`` started."""
    if device.type == "cuda" and not mixed:
        return CUDA_BACKEND
    return "mpi" if dist.is_mpi_available() and MPI_VARIABLES[0] in os.environ else "gloo"


def _store(rank: int, world_size: int, timeout: timedelta) -> TCPStore:
    listen_fd = os.environ.get("MASTER_LISTEN_FD")
    return TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        world_size,
        is_master=rank == 0 and "TORCHELASTIC_USE_AGENT_STORE" not in os.environ,
        timeout=timeout,
        master_listen_fd=None if listen_fd is None else int(listen_fd),
    )


class DistributedGroup:
    """All ranks of a trial: the distributed implementation of
    :class:`~autotune.trial.distributed.process_group.ProcessGroup`.

    ``mesh`` has the dimensions ``data`` (ranks that see different examples) and ``model`` (ranks
    that share one copy of the model). Ranks communicate through ``comm_device``: their own device,
    or the CPU if devices differ.
    """

    def __init__(
        self,
        layout: Layout,
        rank: int,
        device: torch.device,
        mesh: DeviceMesh,
        comm_device: torch.device,
    ) -> None:
        self.layout, self.rank, self.device, self.mesh = layout, rank, device, mesh
        self.comm_device = comm_device
        self._speeds = [1.0] * layout.data
        self.data_rank, self.model_rank = divmod(rank, layout.model)
        self.is_main_process = rank == 0
        self._steps_per_window, self._window_seconds = 1, 0.0

    @property
    def data_group(self) -> dist.ProcessGroup:
        return self.mesh.get_group("data")

    @property
    def model_group(self) -> dist.ProcessGroup:
        return self.mesh.get_group("model")

    def set_rank_weights(self, speed: float) -> None:
        """Distribute batches in proportion to the ranks' speeds; ``speed`` is that of this rank."""
        self._speeds = self._all_gather(speed)

    def local_rows(self, rows: Indices) -> tuple[Indices, bool]:
        """The examples of a micro-batch that this rank trains on, assigned in turn, so that every
        rank has short and long ones.

        All ranks must take part in a step. A rank without examples gets one that must not count:
        then the second value is false.
        """
        local = rows[self._assign_ranks(len(rows)) == self.data_rank]
        return (local, True) if len(local) else (rows[:1], False)

    def _assign_ranks(self, count: int) -> np.ndarray:
        """The data rank of each of ``count`` examples: the one that would finish it first."""
        speeds = np.array(self._speeds)
        assigned = np.zeros(len(speeds))
        ranks = np.zeros(count, dtype=np.int64)
        for index in range(count):
            ranks[index] = rank = int(np.argmin((assigned + 1) / speeds))
            assigned[rank] += 1
        return ranks

    # -------------------------------------------------------------------------- as a ProcessGroup

    def main_process_first(self, function: Callable[[], T]) -> T:
        if self.is_main_process:
            result = function()
            dist.barrier()
            return result
        dist.barrier()
        return function()

    def window_done(self, steps: int, seconds: float, min_seconds: float) -> bool:
        self._window_seconds = min_seconds
        return steps >= self._steps_per_window

    def mean_loss(self, losses: Sequence[Tensor], seconds: float) -> float:
        """Also sets the number of steps of the next window, from the speed of rank 0: each rank
        deciding by its own clock would desynchronise them."""
        steps = round(len(losses) * self._window_seconds / max(seconds, 1e-9))
        values = torch.zeros(2, device=self.comm_device, dtype=torch.float64)
        values[0] = torch.stack(list(losses)).double().mean()
        values[1] = steps if self.is_main_process else 0.0
        dist.all_reduce(values)
        self._steps_per_window = max(1, int(values[1]))
        return float(values[0])

    def shard(self, batches: list[T]) -> list[T]:
        return batches[self.rank :: self.layout.world]

    def all_reduce(self, array: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(array)
        dist.all_reduce(tensor)
        return tensor.numpy()

    def merge_windows(self, windows: list[Window]) -> list[Window]:
        """One window for the warm-up and one for the rest: the examples of all ranks, the seconds
        of the slowest."""
        totals = [_totals(windows, warmup) for warmup in (True, False)]
        merged = []
        for warmup, (examples, seconds) in zip((True, False), totals, strict=True):
            total_examples = torch.tensor([examples], dtype=torch.float64)
            max_seconds = torch.tensor([seconds], dtype=torch.float64)
            dist.all_reduce(total_examples)
            dist.all_reduce(max_seconds, dist.ReduceOp.MAX)
            if total_examples[0] > 0:
                merged.append(Window(int(total_examples[0]), float(max_seconds[0]), warmup))
        return merged

    def report_progress(self, report: Report, point: CurvePoint) -> str | None:
        """Rank 0 reports the point. The others report a heartbeat, and receive the answer at
        rungs."""
        if not self.is_main_process:
            report(CurvePoint(point.step, point.total_steps, point.samples, point.seconds))
        answer: list[Any] = [report(point) if self.is_main_process else None]
        if not point.metrics:
            return None
        dist.broadcast_object_list(answer, src=0, device=torch.device("cpu"))
        reason: str | None = answer[0]
        return reason

    def peaks_gib(self) -> list[float] | None:
        peaks = self._all_gather(memory.peak_gib())
        values = [peak for peak in peaks if peak is not None]
        return values if len(values) == len(peaks) else None

    def device_peaks_gib(self) -> tuple[float, float] | None:
        peaks = [p for p in self._all_gather(memory.device_peaks_gib(self.device)) if p]
        return (sum(p[0] for p in peaks), sum(p[1] for p in peaks)) if peaks else None

    def sum(self, value: float | None) -> float | None:
        values = [item for item in self._all_gather(value) if item is not None]
        return sum(values) if values else None

    def destroy(self) -> None:
        dist.barrier()
        dist.destroy_process_group()

    def _all_gather(self, value: T) -> list[T]:
        values: list[Any] = [None] * self.layout.world
        dist.all_gather_object(values, value)
        return values


def _totals(windows: list[Window], warmup: bool) -> tuple[int, float]:
    selected = [window for window in windows if window.warmup == warmup]
    return sum(w.examples for w in selected), sum(w.seconds for w in selected)
