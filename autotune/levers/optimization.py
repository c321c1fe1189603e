"""Levers of optimization: learning rate, epochs and optimizer."""

from __future__ import annotations

from autotune.domain import Categorical, Range
from autotune.levers.base import ACCURACY, LOOP, MEMORY, SPEED, Lever

LEARNING_RATE = Lever(
    name="learning_rate",
    summary="Peak learning rate of the schedule",
    domain=Range(1e-7, 1.0),
    default=5e-5,
    influences=frozenset({ACCURACY}),
    auto=lambda host: Range(1e-5, 1e-3, log=True),
    effect="autotune.domain.training:peak_learning_rate",
    exports={
        LOOP: "{effect}",
        "hf-trainer": "learning_rate",
        "deepspeed": "optimizer.params.lr",
    },
)

LEARNING_RATE_SCALING = Lever(
    name="learning_rate_scaling",
    summary="Growth of the rate with the batch size relative to 8: none, square root, or linear",
    domain=Categorical(("none", "sqrt", "linear")),
    default="none",
    influences=frozenset({ACCURACY}),
    effect="autotune.domain.training:peak_learning_rate",
    exports={
        LOOP: "{effect}",
        "hf-trainer": "learning_rate, scaled to the batch size",
        "deepspeed": "optimizer.params.lr, scaled to the batch size",
    },
)

EPOCHS = Lever(
    name="epochs",
    summary="Passes over the training split",
    domain=Range(0.01, 100.0),
    default=1.0,
    influences=frozenset({ACCURACY}),
    auto=lambda host: Categorical((1.0, 2.0, 3.0)),
    effect="autotune.trial.plan:TrainingPlan",
    exports={LOOP: "{effect}", "hf-trainer": "num_train_epochs", "lightning": "max_steps"},
)

OPTIMIZER = Lever(
    name="optimizer",
    summary="AdamW, AdamW in one fused kernel, SGD with momentum, or Adafactor",
    domain=Categorical(("adamw", "adamw-fused", "sgd", "adafactor")),
    default="adamw-fused",
    influences=frozenset({SPEED, MEMORY, ACCURACY}),
    effect="autotune.trial.effects.optimizers:build_for_strategy",
    exports={
        LOOP: "{effect}",
        "hf-trainer": "optim; momentum of sgd in train.py",
        "deepspeed": "optimizer; sgd and adafactor in {effect}",
    },
)
