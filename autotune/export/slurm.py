"""Slurm: the folder of ``torchrun``, and a batch script that submits it."""

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
srun --cpus-per-task={cores} {command}
"""

SAFETY_FACTOR = 2.0
"""Requested memory and time, relative to those of the trial."""

DEFAULT_MEMORY_GIB = 8.0
DEFAULT_TRAIN_SECONDS = 3600.0


def batch_file(study: Study, trial: Trial) -> str:
    """The batch script, which requests more time and memory than the trial used."""
    strategy = trial.strategy
    count, threads = num_processes(strategy), int(strategy["threads"])
    memory = trial.metric("peak_memory_gib") or DEFAULT_MEMORY_GIB
    seconds = trial.metric("train_seconds") or DEFAULT_TRAIN_SECONDS
    gpus = sum(device.startswith("cuda") for device in required_resources(strategy).devices)
    return BATCH.format(
        name=re.sub(r"[^A-Za-z0-9_.-]", "-", f"{study.name}-{trial.number}"),
        cores=count * threads,
        gpus=f"#SBATCH --gpus-per-node={gpus}\n" if gpus else "",
        memory_gib=round(SAFETY_FACTOR * memory + 1),
        minutes=round(SAFETY_FACTOR * seconds / 60 + 10),
        threads=threads,
        command=" ".join(torchrun.command(strategy)),
    )


def _config(study: Study, trial: Trial, examples: int) -> Mapping[str, str]:
    return {"job.sbatch": batch_file(study, trial)}


def _unsupported(strategy: Strategy) -> Mapping[str, str]:
    return {"device": "Slurm clusters have no Apple GPUs"} if strategy["device"] == "mps" else {}


def _for_slurm(strategy: Strategy) -> Strategy:
    """The strategy with the device numbers of a job: its GPUs count from 0."""
    on_gpu = str(strategy["device"]).startswith("cuda")
    return strategy.with_values(device="cuda:0") if on_gpu else strategy


FORMAT = replace(
    torchrun.FORMAT,
    name="slurm",
    summary="Fine-tunes in plain torch on Slurm; `job.sbatch` requests the resources.",
    command=lambda strategy: ("sbatch", "job.sbatch"),
    config=_config,
    unsupported=_unsupported,
    rewrite=_for_slurm,
)
