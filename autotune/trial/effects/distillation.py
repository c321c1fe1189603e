"""Levers ``distillation`` and ``distillation_temperature``: learn the logits of a teacher.

Hinton and others, "Distilling the Knowledge in a Neural Network" (2015). Logits are divided by the
temperature, and the loss is multiplied by its square, so that gradients keep their size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from autotune.domain import Strategy
from autotune.domain.losses import TEACHER_OUTPUTS
from autotune.domain.tasks import TaskKind


@dataclass(frozen=True)
class Distillation:
    """``weight`` (0 to 1) is the share of the teacher in the training loss."""

    weight: float
    temperature: float

    def divergence(self, kind: TaskKind, logits: Tensor, teacher: Tensor) -> Tensor:
        """The loss of ``logits`` against those of the ``teacher`` (fp32, in the same shape), one
        for each label of a task of ``kind``."""
        function = _DIVERGENCES[TEACHER_OUTPUTS[kind.name]]
        return function(logits, teacher.to(logits.device), self.temperature)


def distillation_of(strategy: Strategy) -> Distillation | None:
    """The distillation of ``strategy``; ``None`` if it learns labels only."""
    weight = float(strategy["distillation"])
    return Distillation(weight, float(strategy["distillation_temperature"])) if weight else None


def _class_divergence(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The Kullback-Leibler divergence of the classes, in nats."""
    divergence = functional.kl_div(
        (logits / temperature).log_softmax(dim=-1),
        (teacher / temperature).log_softmax(dim=-1),
        reduction="none",
        log_target=True,
    )
    return temperature**2 * divergence.sum(dim=-1)


def _label_divergence(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The divergence of each label that is present or not, in nats."""
    target = (teacher / temperature).sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(
        teacher / temperature, target, reduction="none"
    )
    losses = functional.binary_cross_entropy_with_logits(
        logits / temperature, target, reduction="none"
    )
    return temperature**2 * (losses - entropy)


def _squared_difference(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The squared difference of numbers, which have no temperature."""
    return (logits - teacher).square().squeeze(-1)


_DIVERGENCES: Mapping[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "classes": _class_divergence,
    "labels": _label_divergence,
    "numbers": _squared_difference,
}
