"""Calls the effects of plug-in levers during model set-up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from autotune.domain import Strategy
from autotune.levers.base import Stage
from autotune.levers.effects import model_effects


@dataclass(frozen=True)
class SetupContext:
    """What an effect can use besides the model and the strategy.

    ``batches()`` yields labelled batches of training samples, drawn with ``seed``, on ``device``.
    """

    device: torch.device
    seed: int
    batches: Callable[[], Iterator[dict[str, Tensor]]]


def apply_hooks(
    stage: Stage, model: PreTrainedModel, strategy: Strategy, context: SetupContext
) -> None:
    """Call the effects of ``stage``, in order of registration; each changes ``model`` in place."""
    for effect in model_effects(strategy, stage):
        effect(model, strategy, context)
