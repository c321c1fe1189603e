"""Accelerate: ``accelerate.yaml`` for ``accelerate launch``, and the script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from autotune.domain import Strategy, Study, Trial
from autotune.export.arguments import (
    num_processes,
    parallel_degrees,
    uneven_batch,
    unsupported_parallelism,
)
from autotune.export.base import ScriptFormat
from autotune.export.levers import LOOP_GROUPS
from autotune.levers.numerics import CUDA_GRAPHS, GRAPH_MODE

SUPPORTED_KINDS = ("ddp",)


def command(strategy: Strategy) -> Sequence[str]:
    threads = ("--num_cpu_threads_per_process", str(strategy["threads"]))
    return ("accelerate", "launch", "--config_file", "accelerate.yaml", *threads, "train.py")


def launch_config(strategy: Strategy) -> dict[str, Any]:
    """Fields of Accelerate's ``ClusterConfig``."""
    precision, on_cpu = str(strategy["precision"]), strategy["device"] == "cpu"
    count = num_processes(strategy)
    return {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU" if count > 1 else "NO",
        "num_processes": count,
        "num_machines": 1,
        "machine_rank": 0,
        "use_cpu": on_cpu,
        "mixed_precision": precision if precision in ("bf16", "fp16") else "no",
        "dynamo_config": _dynamo(strategy),
        "main_training_function": "main",
    }


def _dynamo(strategy: Strategy) -> dict[str, Any]:
    if not strategy["compile"]:
        return {}
    return {
        "dynamo_backend": "INDUCTOR",
        **({"dynamo_mode": GRAPH_MODE} if strategy["compile"] == CUDA_GRAPHS else {}),
        "dynamo_use_dynamic": strategy["padding"] != "fixed",
    }


def _config(study: Study, trial: Trial, examples: int) -> Mapping[str, str]:
    text = yaml.safe_dump(launch_config(trial.strategy), sort_keys=False)
    return {"accelerate.yaml": text}


def unsupported(strategy: Strategy) -> Mapping[str, str]:
    if parallel_degrees(strategy).keys() - {*SUPPORTED_KINDS}:
        return unsupported_parallelism("accelerate", *SUPPORTED_KINDS)
    if num_processes(strategy) > 1 and strategy["device"] == "cpu":
        return {"parallelism": "accelerate launch needs MPI to start several CPU processes"}
    return uneven_batch(strategy)


FORMAT = ScriptFormat(
    name="accelerate",
    summary="Fine-tunes with Accelerate; `accelerate.yaml` configures `accelerate launch`.",
    template="train_accelerate",
    command=command,
    config=_config,
    groups=LOOP_GROUPS,
    packages=("accelerate",),
    unsupported=unsupported,
)
