"""Levers of how the loss is brought down."""

from __future__ import annotations

from autotune.domain import Categorical, Range
from autotune.levers.base import ACCURACY, MEMORY, SPEED, Lever, influences

LEARNING_RATE = Lever(
    name="learning_rate",
    summary="Peak learning rate; decays linearly to zero as in Trainer",
    domain=Range(1e-7, 1.0),
    default=5e-5,
    influences=influences(ACCURACY),
    auto=lambda host: Range(1e-5, 1e-3, log=True),
)

LEARNING_RATE_SCALING = Lever(
    name="learning_rate_scaling",
    summary="How the rate grows with batch size over a batch of 8: not, by its root, in proportion",
    domain=Categorical(("none", "sqrt", "linear")),
    default="none",
    influences=influences(ACCURACY),
)

EPOCHS = Lever(
    name="epochs",
    summary="Passes over the training split",
    domain=Range(0.01, 100.0),
    default=1.0,
    influences=influences(ACCURACY),
    auto=lambda host: Categorical((1.0, 2.0, 3.0)),
)

OPTIMIZER = Lever(
    name="optimizer",
    summary="AdamW, AdamW in one fused kernel, SGD with momentum, or Adafactor",
    domain=Categorical(("adamw", "adamw-fused", "sgd", "adafactor")),
    default="adamw-fused",
    influences=influences(SPEED, MEMORY, ACCURACY),
)
