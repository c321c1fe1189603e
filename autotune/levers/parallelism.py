"""Lever ``parallelism``, and the levers that matter only for some layouts."""

from __future__ import annotations

from collections.abc import Iterator

from autotune.domain import Categorical, ForbiddenClause, Host, Range, Value
from autotune.levers.base import MEMORY, SCRIPT, SPEED, TRIAL_LOOP, Lever, Pattern
from autotune.levers.layout import LAYOUT_REGEX, Layout, layout, layouts

AUTO_WORLD_SIZES = (2, 4, 8)

MAX_CHECKED_RANKS = 32
"""Largest world size of a cluster for which combinations are forbidden in advance."""


def _too_many_processes(host: Host, value: Value) -> str | None:
    world, cores = layout(value).world, len(host.cores) * host.num_nodes
    return None if world <= cores else f"{world} processes on {cores} cores would share cores"


def _layouts_of_host(host: Host) -> Categorical:
    """Every layout whose world size is a power of two and at most the number of cores."""
    worlds = [n for n in AUTO_WORLD_SIZES if n <= len(host.cores) * host.num_nodes]
    return Categorical(("none", *(str(form) for world in worlds for form in layouts(world))))


def _parallelism_forbidden_on(host: Host) -> Iterator[ForbiddenClause]:
    """Layouts that need more cores or GPUs than ``host`` has."""
    gpus = [device.id for device in host.devices if device.kind == "cuda"]
    for world in range(2, _max_world(host) + 1):
        members = ", ".join(f"'{form}'" for form in layouts(world))
        yield from _shared_cores(world, members, host)
        for index, gpu in enumerate(gpus):
            available = len(gpus) - index
            if world > available:
                nodes = f"nodes < {world / available:g} and " if host.num_nodes > 1 else ""
                yield ForbiddenClause(
                    f"{nodes}device == '{gpu}' and placement != mixed "
                    f"and parallelism in [{members}]",
                    f"{world} processes need {world} GPUs from {gpu} on; there are {available}",
                )


def _max_world(host: Host) -> int:
    cores = len(host.cores)
    return min(cores * host.num_nodes, max(cores, MAX_CHECKED_RANKS))


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
        f"each node must run the same number of the {world} processes",
    )
    yield ForbiddenClause(
        f"threads * {world} > {cores} * nodes and parallelism in [{members}]",
        f"{world} processes share {cores} cores of each node",
    )


PARALLELISM = Lever(
    name="parallelism",
    summary="Processes that train together: data, sharded-state, tensor or pipeline parallelism",
    domain=Pattern(LAYOUT_REGEX, "none, ddp:2, fsdp:2, zero1:2, tp:2, pp:2, ddp:2 x tp:2"),
    default="none",
    influences=frozenset({SPEED, MEMORY}),
    unavailable=_too_many_processes,
    auto=_layouts_of_host,
    effect="autotune.trial.distributed.parallelize:parallelize",
    exports={
        "hf-trainer": "torchrun --nproc-per-node: Trainer uses DDP",
        "accelerate": "distributed_type and num_processes",
        "deepspeed": "zero_optimization.stage; --num_gpus",
        "ray-train": "num_workers; {autotune.trial.distributed}",
        "torchrun": "--nproc-per-node; {autotune.trial.distributed}",
        "slurm": "--nproc-per-node; {autotune.trial.distributed}",
    },
    forbidden=(
        ForbiddenClause("parallelism != none and device == mps",
            "torch has no collectives on mps"),
        ForbiddenClause("compile == true and parallelism in [fsdp, tp, pp]",
            "collectives break the compiled graph; compile with ddp or zero1"),
        ForbiddenClause("precision == fp16 and parallelism in [fsdp, tp, pp]",
            "shards would have to agree on the gradient scale; use bf16, which needs none"),
        ForbiddenClause("optimizer == adafactor and parallelism in [fsdp, tp]",
            "Adafactor averages over rows and columns, which are split over shards"),
        ForbiddenClause("parallelism == tp and pruning_ratio > 0 and pruning_method == structured",
            "tensor parallelism needs the same number of heads on every rank"),
        ForbiddenClause("parallelism == pp and freeze_layers > 1",
            "a pipeline stage of frozen layers has no gradient to send back"),
    ),
    forbidden_on=_parallelism_forbidden_on,
)  # fmt: skip

DDP_BUCKET_MIB = Lever(
    name="ddp_bucket_mib",
    summary="Size of the gradient buckets that are reduced during the backward pass",
    domain=Range(1, 4096, integer=True),
    default=25,
    influences=frozenset({SPEED, MEMORY}),
    when="parallelism in [ddp, zero1]",
    auto=lambda host: Categorical((5, 25, 100)),
    effect="autotune.trial.distributed.ddp:replicate",
    exports={
        TRIAL_LOOP: "{effect}",
        "hf-trainer": "ddp_bucket_cap_mb",
        "accelerate": "DistributedDataParallelKwargs in train.py",
        "deepspeed": "zero_optimization.reduce_bucket_size",
    },
)

FSDP_RESHARD = Lever(
    name="fsdp_reshard",
    summary="Free gathered weights after the forward pass and gather them again for the backward",
    domain=Categorical((False, True)),
    default=True,
    influences=frozenset({SPEED, MEMORY}),
    when="parallelism == fsdp",
    effect="autotune.trial.distributed.fsdp:shard",
    exports={TRIAL_LOOP: "{effect}"},
)

SEQUENCE_PARALLEL = Lever(
    name="sequence_parallel",
    summary="Split the layers that tensor parallelism replicates along the sequence",
    domain=Categorical((False, True)),
    default=False,
    influences=frozenset({SPEED, MEMORY}),
    when="parallelism == tp",
    effect="autotune.trial.distributed.tensor:shard_layers",
    exports={TRIAL_LOOP: "{effect}"},
)

PIPELINE_SCHEDULE = Lever(
    name="pipeline_schedule",
    summary="Order of work: all forward then all backward, alternating, or two stages per rank",
    domain=Categorical(("gpipe", "1f1b", "interleaved")),
    default="1f1b",
    influences=frozenset({SPEED, MEMORY}),
    when="parallelism == pp",
    effect="autotune.trial.distributed.pipeline:build_pipeline",
    exports={TRIAL_LOOP: "{effect}"},
)


def _uneven_microbatches(host: Host) -> Iterator[ForbiddenClause]:
    for stages in range(2, _max_world(host) + 1):
        members = ", ".join(f"'{form}'" for form in _pipelines(stages, _max_world(host)))
        yield ForbiddenClause(
            f"pipeline_microbatches % {stages} > 0 and parallelism in [{members}]",
            f"{stages} stages need a multiple of {stages} micro-batches",
        )


def _pipelines(stages: int, ranks: int) -> Iterator[Layout]:
    yield Layout(model_kind="pp", model=stages)
    for data in range(2, ranks // stages + 1):
        yield Layout("ddp", data, "pp", stages)


PIPELINE_MICROBATCHES = Lever(
    name="pipeline_microbatches",
    summary="Number of parts of a micro-batch that pass through the pipeline concurrently",
    domain=Range(2, 1024, integer=True),
    default=4,
    influences=frozenset({SPEED, MEMORY}),
    when="parallelism == pp",
    auto=lambda host: Categorical((2, 4, 8)),
    effect="autotune.trial.distributed.pipeline:build_pipeline",
    exports={TRIAL_LOOP: "{effect}"},
    forbidden=(
        ForbiddenClause("parallelism == pp and batch_size < pipeline_microbatches",
            "the batch has fewer samples than the pipeline has micro-batches"),
        ForbiddenClause("parallelism == pp and micro_batch_size < pipeline_microbatches",
            "the micro-batch has fewer samples than the pipeline has micro-batches"),
    ),
    forbidden_on=_uneven_microbatches,
)  # fmt: skip

PINNING = Lever(
    name="pinning",
    summary="Pin each process to adjacent cores of its own, or let all share the trial's cores",
    domain=Categorical(("cores", "none")),
    default="cores",
    influences=frozenset({SPEED}),
    when="parallelism != none",
    effect="autotune.execution.ranks:rank_cores",
    exports={SCRIPT: "{autotune.export.templates.device}: cores of each process"},
)
