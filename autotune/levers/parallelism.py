"""Levers of how one trial is spread over processes, and what each spreading holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from autotune.domain import Categorical, ForbiddenClause, Host, Range, Value
from autotune.levers.base import MEMORY, SPEED, Lever, Pattern, influences

DATA_KINDS = ("ddp", "fsdp", "zero1")
MODEL_KINDS = ("tp", "pp")
HYBRIDS = (("ddp", "tp"), ("ddp", "pp"), ("fsdp", "tp"))
MAX_AUTO_DEGREE = 8
MOST_RANKS_OF_A_CLUSTER = 32
"""Beyond it nothing is said in advance of what a cluster can hold."""

_DEGREE = r":(?:[2-9]|[1-9]\d{1,2})"
_ONE = "|".join((*DATA_KINDS, *MODEL_KINDS))
_PAIRS = "|".join(f"{outer}{_DEGREE} x {inner}{_DEGREE}" for outer, inner in HYBRIDS)
_FORM = f"none|(?:{_ONE}){_DEGREE}|{_PAIRS}"


@dataclass(frozen=True)
class Layout:
    """How ranks are laid out: ``data`` of them each see a share of every batch, and ``model`` of
    them together hold one copy of the model. Ranks of one copy are neighbours."""

    data_kind: str | None = None
    data: int = 1
    model_kind: str | None = None
    model: int = 1

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.data * self.model

    def __str__(self) -> str:
        parts = ((self.data_kind, self.data), (self.model_kind, self.model))
        return " x ".join(f"{kind}:{degree}" for kind, degree in parts if kind) or "none"


def layout(value: Value) -> Layout:
    """Read a setting of ``parallelism``, such as ``ddp:2 x tp:2``."""
    found: dict[str, int] = {}
    for part in re.findall(rf"({_ONE}):(\d+)", str(value)):
        found[part[0]] = int(part[1])
    data = next((kind for kind in found if kind in DATA_KINDS), None)
    model = next((kind for kind in found if kind in MODEL_KINDS), None)
    return Layout(data, found.get(data or "", 1), model, found.get(model or "", 1))


def layouts(world: int) -> Iterator[Layout]:
    """Every way to lay out ``world`` processes."""
    for kind in DATA_KINDS:
        yield Layout(data_kind=kind, data=world)
    for kind in MODEL_KINDS:
        yield Layout(model_kind=kind, model=world)
    for outer, inner in HYBRIDS:
        for degree in range(2, world // 2 + 1):
            if world % degree == 0:
                yield Layout(outer, degree, inner, world // degree)


def _too_many_processes(host: Host, value: Value) -> str | None:
    world, cores = layout(value).world, len(host.cores) * host.num_nodes
    return None if world <= cores else f"{world} processes on {cores} cores would share cores"


def _what_fits(host: Host) -> Categorical:
    """Every kind and hybrid at every degree that is a power of two and fits."""
    degrees = [2, 4, MAX_AUTO_DEGREE]
    worlds = [degree for degree in degrees if degree <= len(host.cores) * host.num_nodes]
    return Categorical(("none", *(str(one) for world in worlds for one in layouts(world))))


def host_rules(host: Host) -> Iterator[ForbiddenClause]:
    """Combinations with ``parallelism`` that this host cannot hold, and why."""
    gpus = [device.id for device in host.devices if device.kind == "cuda"]
    for world in range(2, _largest_world(host) + 1):
        members = ", ".join(f"'{one}'" for one in layouts(world))
        yield from _shared_cores(world, members, host)
        for place, gpu in enumerate(gpus):
            left = len(gpus) - place
            if world > left:
                spread = f"nodes < {world / left:g} and " if host.num_nodes > 1 else ""
                yield ForbiddenClause(
                    f"{spread}device == '{gpu}' and placement != mixed "
                    f"and parallelism in [{members}]",
                    f"{world} processes want as many GPUs from {gpu} on; there are {len(gpus)}",
                )
        pipes = ", ".join(f"'{one}'" for one in _with_pipeline(world, _largest_world(host)))
        yield ForbiddenClause(
            f"pipeline_microbatches % {world} > 0 and parallelism in [{pipes}]",
            f"{world} stages want a multiple of {world} micro-batches to be kept busy",
        )


def _largest_world(host: Host) -> int:
    cores = len(host.cores)
    return min(cores * host.num_nodes, max(cores, MOST_RANKS_OF_A_CLUSTER))


def _shared_cores(world: int, members: str, host: Host) -> Iterator[ForbiddenClause]:
    cores, threads = len(host.cores), len(host.cores) // world
    if host.num_nodes == 1:
        yield ForbiddenClause(
            f"threads > {threads} and parallelism in [{members}]",
            f"{world} processes share {cores} cores: at most {threads} threads each",
        )
        return
    yield ForbiddenClause(
        f"{world} % nodes > 0 and parallelism in [{members}]",
        f"{world} processes are to be spread evenly",
    )
    yield ForbiddenClause(
        f"threads * {world} > {cores} * nodes and parallelism in [{members}]",
        f"{world} processes share {cores} cores of each machine",
    )


def _with_pipeline(degree: int, cores: int) -> Iterator[Layout]:
    yield Layout(model_kind="pp", model=degree)
    for data in range(2, cores // degree + 1):
        yield Layout("ddp", data, "pp", degree)


PARALLELISM = Lever(
    name="parallelism",
    summary="Processes that train together: shares of the batch, of the states or of the model",
    domain=Pattern(_FORM, "none, ddp:2, fsdp:2, zero1:2, tp:2, pp:2, ddp:2 x tp:2"),
    default="none",
    influences=influences(SPEED, MEMORY),
    unavailable=_too_many_processes,
    auto=_what_fits,
)

DDP_BUCKET_MIB = Lever(
    name="ddp_bucket_mib",
    summary="Gradients that are sent together, while the backward pass goes on",
    domain=Range(1, 4096, integer=True),
    default=25,
    influences=influences(SPEED, MEMORY),
    when="parallelism in [ddp, zero1]",
    auto=lambda host: Categorical((5, 25, 100)),
)

FSDP_RESHARD = Lever(
    name="fsdp_reshard",
    summary="Let gathered weights go after the forward pass and gather them again for the backward",
    domain=Categorical((False, True)),
    default=True,
    influences=influences(SPEED, MEMORY),
    when="parallelism == fsdp",
)

SEQUENCE_PARALLEL = Lever(
    name="sequence_parallel",
    summary="Also split what tensor parallelism leaves whole, by position in the text",
    domain=Categorical((False, True)),
    default=False,
    influences=influences(SPEED, MEMORY),
    when="parallelism == tp",
)

PIPELINE_SCHEDULE = Lever(
    name="pipeline_schedule",
    summary="Order in which stages work: all forward then all backward, by turns, two stages each",
    domain=Categorical(("gpipe", "1f1b", "interleaved")),
    default="1f1b",
    influences=influences(SPEED, MEMORY),
    when="parallelism == pp",
)

PIPELINE_MICROBATCHES = Lever(
    name="pipeline_microbatches",
    summary="Pieces of a micro-batch that are in the pipeline at once",
    domain=Range(2, 1024, integer=True),
    default=4,
    influences=influences(SPEED, MEMORY),
    when="parallelism == pp",
    auto=lambda host: Categorical((2, 4, 8)),
)

PINNING = Lever(
    name="pinning",
    summary="Each process on cores of its own, near each other, or all on all of the trial's cores",
    domain=Categorical(("cores", "none")),
    default="cores",
    influences=influences(SPEED),
    when="parallelism != none",
)

RULES: tuple[ForbiddenClause, ...] = (
    ForbiddenClause("parallelism != none and device == mps",
         "torch has no collectives on mps"),
    ForbiddenClause("compile == true and parallelism in [fsdp, tp, pp]",
         "a graph that ends at every exchange gains nothing; compile with ddp or zero1"),
    ForbiddenClause("precision == fp16 and parallelism in [fsdp, tp, pp]",
         "gradient scaling would have to agree over shards at every step; bf16 needs no scaling"),
    ForbiddenClause("optimizer == adafactor and parallelism in [fsdp, tp]",
         "Adafactor averages over rows and columns, which a shard does not have whole"),
    ForbiddenClause("parallelism == tp and pruning_ratio > 0 and pruning_method == structured",
         "tensor parallelism deals whole heads out evenly; pruned layers have uneven numbers"),
    ForbiddenClause("parallelism == pp and freeze_layers > 1",
         "a stage of frozen layers has no gradient to hand back"),
    ForbiddenClause("parallelism == pp and batch_size < pipeline_microbatches",
         "there are fewer examples than pieces"),
    ForbiddenClause("parallelism == pp and micro_batch_size < pipeline_microbatches",
         "there are fewer examples than pieces"),
)  # fmt: skip
