"""Ray Train: a TorchTrainer, and ``scaling_config.json`` for its ScalingConfig."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.domain import Strategy, Study, Trial
from autotune.export.arguments import num_processes
from autotune.export.base import ScriptFormat, as_json
from autotune.export.levers import TRIAL_LOOP_GROUPS
from autotune.levers import required_resources
from autotune.levers.cluster import ANY


def scaling(strategy: Strategy) -> dict[str, Any]:
    """Arguments of ``ray.train.ScalingConfig``. A worker has one GPU, or those of a split model."""
    on_gpu, workers = str(strategy["device"]).startswith("cuda"), num_processes(strategy)
    gpus = max(1, len(required_resources(strategy).devices) // workers)
    node_class = strategy.get("node_class", ANY)
    return {
        **({"label_selector": {"node-class": node_class}} if node_class != ANY else {}),
        "num_workers": workers,
        "use_gpu": on_gpu,
        "resources_per_worker": {
            "CPU": int(strategy["threads"]),
            **({"GPU": gpus} if on_gpu else {}),
        },
    }


def _config(study: Study, trial: Trial, examples: int) -> Mapping[str, str]:
    return {"scaling_config.json": as_json(scaling(trial.strategy))}


def unsupported(strategy: Strategy) -> Mapping[str, str]:
    reasons = {}
    if strategy["device"] == "mps":
        reasons["device"] = "Ray does not support Apple's GPUs"
    if strategy.get("placement", "single") == "mixed":
        reasons["placement"] = "the workers of a ScalingConfig all have GPUs, or none has"
    if strategy.get("offload", "none") == "parameters" and num_processes(strategy) == 1:
        reasons["offload"] = "a single worker keeps its weights on the GPU; use torchrun"
    return reasons


FORMAT = ScriptFormat(
    name="ray-train",
    summary="Fine-tunes with Ray Train's TorchTrainer; `scaling_config.json` sets the workers.",
    template="train_ray_train",
    command=lambda strategy: ("python", "train.py"),
    config=_config,
    groups=TRIAL_LOOP_GROUPS,
    packages=("ray[train]",),
    unsupported=unsupported,
)
