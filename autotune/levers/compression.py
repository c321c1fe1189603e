"""Levers of how much of the model is kept, and how much of what is kept is trained."""

from __future__ import annotations

from autotune.domain import Categorical, Host, Range
from autotune.levers.base import ACCURACY, MEMORY, SPEED, Lever, influences


def _quarters(host: Host) -> Range:
    return Range(0.0, 0.75, step=0.25)


def _freeze_counts(host: Host) -> Categorical:
    return Categorical((0, 1, 3))


PRUNING_RATIO = Lever(
    name="pruning_ratio",
    summary="Share of the encoder removed before fine-tuning",
    domain=Range(0.0, 0.95),
    default=0.0,
    influences=influences(SPEED, MEMORY, ACCURACY),
    auto=_quarters,
)

PRUNING_METHOD = Lever(
    name="pruning_method",
    summary="Remove heads and neurons, zero single weights, or drop whole layers",
    domain=Categorical(("structured", "unstructured", "layers")),
    default="structured",
    influences=influences(SPEED, MEMORY, ACCURACY),
    when="pruning_ratio > 0",
)

PRUNING_SCORE = Lever(
    name="pruning_score",
    summary="What tells a head or neuron that matters: its effect on the loss, or its weights",
    domain=Categorical(("taylor", "magnitude")),
    default="taylor",
    # Scoring by effect on the loss takes gradients of the whole model, time and memory, at setup.
    influences=influences(SPEED, MEMORY, ACCURACY),
    when="pruning_ratio > 0 and pruning_method == structured",
)

FREEZE_LAYERS = Lever(
    name="freeze_layers",
    summary="Train all (0), all but the embeddings (1), or also freeze the lowest n - 1 layers (n)",
    domain=Range(0, 1000, integer=True),
    default=0,
    influences=influences(SPEED, MEMORY, ACCURACY),
    auto=_freeze_counts,
)

DROPOUT = Lever(
    name="dropout",
    summary="Dropout of hidden states and attention while training, or the model's own",
    domain=Range(0.0, 0.9),
    named_values=("model",),
    default="model",
    influences=influences(SPEED, MEMORY, ACCURACY),
    auto=lambda host: Categorical(("model", 0.0)),
)
