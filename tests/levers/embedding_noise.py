"""A plug-in with the lever ``embedding_noise``: noise on token embeddings (NEFTune, 2023)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from autotune.domain import Range, Strategy, WorkloadProfile
from autotune.levers import ACCURACY, SCRIPT, SPEED, Lever, Stage
from autotune.levers.model_shape import ModelShape
from autotune.plugins import register_lever


def add_noise(model: Any, strategy: Strategy, context: Any) -> None:
    """Add uniform noise to the embeddings in training mode."""
    import torch

    def perturb(module: Any, inputs: Any, embeddings: Any) -> Any:
        if not module.training:
            return embeddings
        scale = float(strategy["embedding_noise"]) / math.sqrt(math.prod(embeddings.shape[1:]))
        return embeddings + torch.empty_like(embeddings).uniform_(-scale, scale)

    print(f"embedding noise {strategy['embedding_noise']} on {context.device}")
    model.get_input_embeddings().register_forward_hook(perturb)


def more_operations(shape: ModelShape, strategy: Strategy, profile: WorkloadProfile) -> ModelShape:
    return replace(shape, operations=1.01 * shape.operations)


register_lever(
    Lever(
        name="embedding_noise",
        summary="Scale of the uniform noise on token embeddings in training",
        domain=Range(0.0, 100.0),
        default=0.0,
        influences=frozenset({SPEED, ACCURACY}),
        workload=more_operations,
        effect=f"{__name__}:add_noise",
        stage=Stage.FREEZE,
        exports={SCRIPT: "{effect}"},
    )
)
