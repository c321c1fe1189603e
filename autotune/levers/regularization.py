"""Levers of schedules and regularization: what a recipe changes besides rate, epochs and batch."""

from __future__ import annotations

from autotune.domain import Categorical, Range
from autotune.levers.base import ACCURACY, LOOP, SCRIPT, SPEED, Lever

LR_SCHEDULER = Lever(
    name="lr_scheduler",
    summary="Course of the learning rate: to zero, constant, or constant with a cool-down",
    domain=Categorical(("linear", "cosine", "constant", "constant-cooldown", "polynomial")),
    default="linear",
    influences=frozenset({ACCURACY}),
    effect="autotune.trial.effects.schedules:make_scheduler",
    exports={
        LOOP: "{effect}",
        "hf-trainer": "lr_scheduler_type, lr_scheduler_kwargs",
    },
)

WARMUP_RATIO = Lever(
    name="warmup_ratio",
    summary="Share of the steps in which the learning rate rises linearly from zero",
    domain=Range(0.0, 0.9),
    default=0.0,
    influences=frozenset({ACCURACY}),
    auto=lambda host: Categorical((0.0, 0.06, 0.1)),
    effect="autotune.trial.effects.schedules:make_scheduler",
    exports={LOOP: "{effect}", "hf-trainer": "warmup_steps"},
)

WEIGHT_DECAY = Lever(
    name="weight_decay",
    summary="Decay of weight matrices in each step, relative to the rate; not of biases and norms",
    domain=Range(0.0, 1.0),
    default=0.0,
    influences=frozenset({ACCURACY}),
    auto=lambda host: Categorical((0.0, 0.01, 0.1)),
    effect="autotune.trial.effects.parameter_groups:parameter_groups",
    exports={
        LOOP: "{effect}",
        "hf-trainer": "weight_decay",
        "deepspeed": "optimizer.params.weight_decay; not of biases and norms in {effect}",
    },
)

LAYER_DECAY = Lever(
    name="layer_decay",
    summary="Factor by which the learning rate falls from each layer to the one below it",
    domain=Range(0.1, 1.0),
    default=1.0,
    influences=frozenset({ACCURACY}),
    auto=lambda host: Categorical((1.0, 0.95, 0.8)),
    effect="autotune.trial.effects.parameter_groups:parameter_groups",
    exports={SCRIPT: "{effect}"},
)

LABEL_SMOOTHING = Lever(
    name="label_smoothing",
    summary="Share of each label that is spread over all classes in training",
    domain=Range(0.0, 0.9),
    default=0.0,
    influences=frozenset({ACCURACY}),
    auto=lambda host: Categorical((0.0, 0.1)),
    effect="autotune.trial.loss:build_loss",
    exports={LOOP: "{effect}", "hf-trainer": "label_smoothing_factor"},
)

GRADIENT_CLIP = Lever(
    name="gradient_clip",
    summary="Norm to which the gradient of a step is clipped; 0 does not clip",
    domain=Range(0.0, 1000.0),
    default=1.0,
    influences=frozenset({SPEED, ACCURACY}),
    auto=lambda host: Categorical((1.0, 0.0)),
    effect="autotune.trial.effects.optimizers:take_step",
    exports={
        LOOP: "{effect}",
        "hf-trainer": "max_grad_norm",
        "deepspeed": "gradient_clipping",
        "lightning": "gradient_clip_val",
    },
)
