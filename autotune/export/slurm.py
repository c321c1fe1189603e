"""Slurm: the folder of ``torchrun``, and a batch file that submits it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from autotune.domain import Strategy, Study, Trial
from autotune.export import torchrun
from autotune.export.arguments import num_processes
from autotune.levers import required_resources

BATCH = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task={cores}
{gpus}#SBATCH --mem={memory_gib}G
#SBATCH --time={minutes}
#SBATCH --output=%x-%j.log

# Add the partition and account of your cluster: sbatch --partition=... --account=... job.sbatch
set -euo pipefail
cd "${{SLURM_SUBMIT_DIR}}"
export OMP_NUM_THREADS={threads}
srun {command}
"""

SPARE = 2.0
"""How many times the memory and time that the trial took are asked for."""

UNMEASURED_GIB = 8.0
UNMEASURED_SECONDS = 3600.0


def batch_file(study: Study, trial: Trial) -> str:
    """The batch file. Time and memory are asked for with room to spare."""
    strategy = trial.strategy
    count, threads = num_processes(strategy), int(strategy["threads"])
    memory = trial.metric("peak_memory_gib") or UNMEASURED_GIB
    seconds = trial.metric("train_seconds") or UNMEASURED_SECONDS
    gpus = sum(device.startswith("cuda") for device in required_resources(strategy).devices)
    return BATCH.format(
        name=re.sub(r"[^A-Za-z0-9_.-]", "-", f"{study.name}-{trial.number}"),
        cores=count * threads,
        gpus=f"#SBATCH --gpus-per-node={gpus}\n" if gpus else "",
        memory_gib=round(SPARE * memory + 1),
        minutes=round(SPARE * seconds / 60 + 10),
        threads=threads,
        command=" ".join(torchrun.command(strategy)),
    )


def _config(study: Study, trial: Trial, examples: int) -> Mapping[str, str]:
    return {"job.sbatch": batch_file(study, trial)}


def _unsupported(strategy: Strategy) -> Mapping[str, str]:
    return {"device": "no Slurm cluster has Apple's GPUs"} if strategy["device"] == "mps" else {}


def _as_slurm_counts(strategy: Strategy) -> Strategy:
    """A job sees only the GPUs that it was given, counted from 0."""
    on_gpu = str(strategy["device"]).startswith("cuda")
    return strategy.with_values(device="cuda:0") if on_gpu else strategy


FORMAT = replace(
    torchrun.FORMAT,
    name="slurm",
    summary="Submits a fine-tune in plain torch to Slurm; `job.sbatch` says what it needs.",
    command=lambda strategy: ("sbatch", "job.sbatch"),
    config=_config,
    unsupported=_unsupported,
    rewrite=_as_slurm_counts,
)
