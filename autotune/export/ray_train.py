"""Ray Train: a TorchTrainer, and ``scaling_config.json`` for its ScalingConfig."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotune.domain import Strategy, Study, Trial
from autotune.export.base import ScriptFormat, as_json
from autotune.export.levers import CODE, LOOP, OWN
from autotune.export.parallelism import processes
from autotune.levers.cluster import ANY


def scaling(strategy: Strategy) -> dict[str, Any]:
    """Arguments of ``ray.train.ScalingConfig``."""
    on_gpu = str(strategy["device"]).startswith("cuda")
    node_class = strategy.get("node_class", ANY)
    return {
        **({"label_selector": {"node-class": node_class}} if node_class != ANY else {}),
        "num_workers": processes(strategy),
        "use_gpu": on_gpu,
        "resources_per_worker": {
            "CPU": int(strategy["threads"]),
            **({"GPU": 1} if on_gpu else {}),
        },
    }


def _config(study: Study, trial: Trial, examples: int) -> Mapping[str, str]:
    return {"scaling_config.json": as_json(scaling(trial.strategy))}


def refuse(strategy: Strategy) -> Mapping[str, str]:
    return {"device": "Ray does not hand out Apple's GPUs"} if strategy["device"] == "mps" else {}


FORMAT = ScriptFormat(
    name="ray-train",
    summary="Fine-tunes with Ray Train's TorchTrainer; `scaling_config.json` says on how much.",
    template="train_ray_train",
    command=lambda strategy: ("python", "train.py"),
    config=_config,
    arrives={
        **CODE,
        **LOOP,
        "device": "use_gpu: Ray chooses which; tuned/ground.py",
        "threads": "resources_per_worker; tuned/ground.py",
        **OWN,
        "node_class": "label_selector",
        "parallelism": "num_workers; tuned/trial/parallel",
    },
    packages=("ray[train]",),
    refuse=refuse,
)
