"""Fine-tune with Ray Train under the strategy of this folder, with the training loop of the trial.

``python train.py`` starts Ray on this machine, or joins the cluster of ``RAY_ADDRESS``, with the
workers of ``scaling_config.json``. On a cluster every machine must be able to read the folder at
the same path.
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
from autotune.export.templates.checkpoint import save
from autotune.export.templates.device import pin_cores
from autotune.export.templates.evaluation import evaluate, print_summary
from autotune.export.templates.folder import ExportFolder, open_folder
from autotune.export.templates.loop import fine_tune
from autotune.export.templates.metrics import ThroughputRecorder
from autotune.levers.layout import layout
from autotune.trial.devices import init_device
from autotune.trial.distributed.collectives import CUDA_BACKEND, DistributedGroup
from autotune.trial.distributed.process_group import ProcessGroup, SingleProcess

HERE = Path(__file__).resolve().parent


def train_loop_per_worker(config: dict[str, Any]) -> None:
    """The code of each worker, which Ray has given its GPUs. Rank 0 writes the results."""
    path = Path(config["folder"])
    exported = open_folder(path)
    folder = replace(exported, strategy=for_ray_worker(exported.strategy))
    pin_cores(folder.strategy, train.get_context().get_local_rank())
    device = init_device(folder.strategy)
    group = init_process_group(folder, device)
    torch.manual_seed(folder.seed)
    recorder = ThroughputRecorder(device, folder.seed + group.data_rank)
    state = fine_tune(folder, folder.train_collator(device), group, recorder)
    if group.is_main_process:
        scores = evaluate(folder, state.model, state.precision, device)
        recorder.write(path, scores)
        save(state.model, folder.tokenizer, path / "trained")
        print_summary(recorder.samples_per_second, scores)
    train.report({"train_samples_per_second": recorder.samples_per_second})


def for_ray_worker(strategy: Strategy) -> Strategy:
    """The strategy with the device numbers of a Ray worker: its GPUs count from 0."""
    on_gpu = str(strategy["device"]).startswith("cuda")
    return strategy.with_values(device="cuda:0" if on_gpu else "cpu")


def init_process_group(folder: ExportFolder, device: torch.device) -> ProcessGroup:
    """The group of all workers, which Ray has already connected."""
    group_layout = layout(folder.strategy.get("parallelism", "none"))
    if group_layout.world == 1:
        return SingleProcess(device)
    shape = (group_layout.data, group_layout.model)
    mesh = init_device_mesh(device.type, shape, mesh_dim_names=("data", "model"))
    rank = train.get_context().get_world_rank()
    return DistributedGroup(group_layout, rank, device, mesh, comm_device=device)


def main() -> None:
    scaling = json.loads((HERE / "scaling_config.json").read_text(encoding="utf-8"))
    TorchTrainer(
        train_loop_per_worker,
        train_loop_config={"folder": str(HERE)},
        torch_config=TorchConfig(backend=CUDA_BACKEND if scaling["use_gpu"] else "gloo"),
        scaling_config=ScalingConfig(**scaling),
        run_config=RunConfig(name="tuned", storage_path=str(HERE / "ray")),
    ).fit()


if __name__ == "__main__":
    main()
