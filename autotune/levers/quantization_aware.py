"""The lever that trains a model for its deployment in int8."""

from __future__ import annotations

from dataclasses import replace

from autotune.domain import Categorical, ForbiddenClause, Strategy, WorkloadProfile
from autotune.levers.base import ACCURACY, MEMORY, SCRIPT, SPEED, Lever
from autotune.levers.deployment import IS_INT8
from autotune.levers.model_shape import ModelShape

ACTIVATIONS = 1.3
"""Activations that are kept, relative to training without, estimated high: query, key and value
keep rounded inputs of their own, as does the output of attention beside the exact one."""


def _round(shape: ModelShape, strategy: Strategy, profile: WorkloadProfile) -> ModelShape:
    return replace(shape, rounds_weights=True, activations=shape.activations * ACTIVATIONS)


QUANTIZATION_AWARE = Lever(
    name="quantization_aware",
    summary="Train with the rounding errors of int8 in linear layers, for deployment in int8",
    domain=Categorical((False, True)),
    default=False,
    influences=frozenset({SPEED, MEMORY, ACCURACY}),
    when=IS_INT8,
    workload=_round,
    effect="autotune.trial.effects.quantization_aware:add_rounding",
    exports={SCRIPT: "{effect}, in training"},
    forbidden=(
        ForbiddenClause("quantization_aware == true and adapter != none",
            "adapters are merged after training: the sums that serve are not those that it rounds"),
        ForbiddenClause("quantization_aware == true and parallelism in [fsdp, tp, pp]",
            "ranks have parts of the model; rounding is for whole models"),
        ForbiddenClause("quantization_aware == true and offload == parameters",
            "offloading uses fsdp, whose ranks have parts of the model"),
        ForbiddenClause("quantization_aware == true and compile == 'cuda-graphs'",
            "rounding has not been tested in recorded graphs"),
    ),
)  # fmt: skip
