"""Fine-tune with Ray Train under the strategy of this folder.

``python train.py`` starts Ray on this machine, or joins the cluster that ``RAY_ADDRESS`` names,
with the workers that ``scaling_config.json`` asks for. On a cluster the folder must be readable at
the same place on every machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from ray import train
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from torch.nn.parallel import DistributedDataParallel

from autotune.export.templates.building import build
from autotune.export.templates.folder import open_folder
from autotune.export.templates.ground import settle
from autotune.export.templates.judging import judge, tell
from autotune.export.templates.looping import fine_tune, runnable
from autotune.export.templates.recording import Recorder
from autotune.export.templates.saving import save

HERE = Path(__file__).resolve().parent


def work(config: dict[str, Any]) -> None:
    """What each worker does. Ray has given it its GPUs; rank 0 writes the results."""
    here, context = Path(config["folder"]), train.get_context()
    folder = open_folder(here)
    rank, ranks = context.get_world_rank(), context.get_world_size()
    device = settle(folder.strategy, context.get_local_rank())
    collate = folder.training(device)
    built = build(folder, collate)
    run = runnable(folder, built)
    if ranks > 1:
        assert isinstance(run, torch.nn.Module)
        run = DistributedDataParallel(run, device_ids=None if device.type == "cpu" else [device])
    recorder = Recorder(device)
    fine_tune(folder, built, run, collate, recorder, rank, ranks)
    if rank == 0:
        scores = judge(folder, built.model, built.precision, device)
        recorder.write(here, scores)
        save(built.model, folder.tokenizer, here / "trained")
        tell(recorder.samples_per_second, scores)
    train.report({"train_samples_per_second": recorder.samples_per_second})


def main() -> None:
    asked = json.loads((HERE / "scaling_config.json").read_text(encoding="utf-8"))
    TorchTrainer(
        work,
        train_loop_config={"folder": str(HERE)},
        scaling_config=ScalingConfig(**asked),
        run_config=RunConfig(name="tuned", storage_path=str(HERE / "ray")),
    ).fit()


if __name__ == "__main__":
    main()
