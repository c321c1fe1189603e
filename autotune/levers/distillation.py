"""Levers of distillation: a model learns the logits of a teacher besides the labels."""

from __future__ import annotations

from autotune.domain import Categorical, ForbiddenClause, Range
from autotune.levers.base import ACCURACY, Lever

DISTILLATION = Lever(
    name="distillation",
    summary="Weight of the teacher's logits in the training loss; 0 for labels only",
    domain=Range(0.0, 1.0),
    default=0.0,
    influences=frozenset({ACCURACY}),
    auto=lambda host: Categorical((0.0, 0.5)),
    effect="autotune.trial.effects.distillation:Distillation",
    forbidden=(
        ForbiddenClause("distillation > 0 and parallelism != none",
            "the logits of the teacher are passed to one process"),
        ForbiddenClause("distillation > 0 and offload == parameters",
            "offloading uses fsdp, whose ranks do not get the logits of the teacher"),
    ),
)  # fmt: skip

DISTILLATION_TEMPERATURE = Lever(
    name="distillation_temperature",
    summary="By what the logits of teacher and model are divided: higher is softer",
    domain=Range(1.0, 20.0),
    default=2.0,
    influences=frozenset({ACCURACY}),
    when="distillation > 0",
    auto=lambda host: Categorical((1.0, 2.0, 4.0)),
    effect="autotune.trial.effects.distillation:Distillation",
)
