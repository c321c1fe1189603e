"""Fine-tune with Ray Train under the strategy of this folder, with the loop of the trial.

``python train.py`` starts Ray on this machine, or joins the cluster that ``RAY_ADDRESS`` names,
with the workers that ``scaling_config.json`` asks for. On a cluster the folder must be readable at
the same place on every machine.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ray import train
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch.distributed.device_mesh import init_device_mesh

from autotune.domain import Strategy
from autotune.export.templates.device import take_cores
from autotune.export.templates.evaluation import judge, print_summary
from autotune.export.templates.folder import Folder, open_folder
from autotune.export.templates.loop import fine_tune
from autotune.export.templates.metrics import Recorder
from autotune.export.templates.saving import save
from autotune.levers.parallelism import layout
from autotune.trial.distributed.collectives import ON_CUDA, DistributedGroup
from autotune.trial.distributed.process_group import ProcessGroup, SingleProcess
from autotune.trial.effects.devices import init_device

HERE = Path(__file__).resolve().parent


def work(config: dict[str, Any]) -> None:
    """What each worker does. Ray has given it its GPUs; rank 0 writes the results."""
    here = Path(config["folder"])
    exported = open_folder(here)
    folder = replace(exported, strategy=on_ray(exported.strategy))
    take_cores(folder.strategy, train.get_context().get_local_rank())
    device = init_device(folder.strategy)
    crew = met(folder, device)
    torch.manual_seed(folder.seed)
    recorder = Recorder(device, folder.seed)
    ready = fine_tune(folder, folder.training(device), crew, recorder)
    if crew.is_main_process:
        scores = judge(folder, ready.model, ready.precision, device)
        recorder.write(here, scores)
        save(ready.model, folder.tokenizer, here / "trained")
        print_summary(recorder.samples_per_second, scores)
    train.report({"train_samples_per_second": recorder.samples_per_second})


def on_ray(strategy: Strategy) -> Strategy:
    """The strategy on the GPUs that Ray has given to the workers of this machine, which each of
    them sees as the first: it takes those of its rank."""
    on_gpu = str(strategy["device"]).startswith("cuda")
    return strategy.with_values(device="cuda:0" if on_gpu else "cpu")


def met(folder: Folder, device: torch.device) -> ProcessGroup:
    """The workers, which Ray has introduced to each other."""
    wanted = layout(folder.strategy.get("parallelism", "none"))
    if wanted.world == 1:
        return SingleProcess(device)
    shape = (wanted.data, wanted.model)
    mesh = init_device_mesh(device.type, shape, mesh_dim_names=("data", "model"))
    rank = train.get_context().get_world_rank()
    return DistributedGroup(wanted, rank, device, mesh, table=device)


def main() -> None:
    asked = json.loads((HERE / "scaling_config.json").read_text(encoding="utf-8"))
    TorchTrainer(
        work,
        train_loop_config={"folder": str(HERE)},
        torch_config=TorchConfig(backend=ON_CUDA if asked["use_gpu"] else "gloo"),
        scaling_config=ScalingConfig(**asked),
        run_config=RunConfig(name="tuned", storage_path=str(HERE / "ray")),
    ).fit()


if __name__ == "__main__":
    main()
