"""Fine-tune in plain torch under the strategy of this folder.

``torchrun --standalone --nproc-per-node N train.py`` starts N processes, which share each batch
(DistributedDataParallel); ``python train.py`` runs one.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from autotune.export.templates.building import build
from autotune.export.templates.folder import open_folder
from autotune.export.templates.ground import settle
from autotune.export.templates.judging import judge, tell
from autotune.export.templates.looping import Run, fine_tune, runnable
from autotune.export.templates.recording import Recorder
from autotune.export.templates.saving import save

HERE = Path(__file__).resolve().parent


def main() -> None:
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    folder = open_folder(HERE)
    device = settle(folder.strategy, int(os.environ.get("LOCAL_RANK", "0")))
    if ranks > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    collate = folder.training(device)
    built = build(folder, collate)
    run = wrapped(runnable(folder, built), device, ranks)
    recorder = Recorder(device)
    fine_tune(folder, built, run, collate, recorder, rank, ranks)
    if rank == 0:
        scores = judge(folder, built.model, built.precision, device)
        recorder.write(HERE, scores)
        save(built.model, folder.tokenizer, HERE / "trained")
        tell(recorder.samples_per_second, scores)
    if ranks > 1:
        dist.barrier()
        dist.destroy_process_group()


def wrapped(run: Run, device: torch.device, ranks: int) -> Run:
    """One of several processes keeps its copy of the model equal to the others'."""
    if ranks == 1:
        return run
    assert isinstance(run, torch.nn.Module)
    return DistributedDataParallel(run, device_ids=None if device.type == "cpu" else [device])


if __name__ == "__main__":
    main()
