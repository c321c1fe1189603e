"""The losses of the task kinds, and :class:`Loss`: that of one task.

A loss is a function of logits in fp32 and labels. It returns the loss of each label, in the shape
of the labels, and 0 for labels that are not evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from autotune.domain.losses import LOSSES
from autotune.domain.registry import import_function
from autotune.domain.tasks import TASK_KINDS, TaskKind
from autotune.errors import UsageError
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.effects.distillation import Distillation
from autotune.trial.effects.pruning_scores import BatchLoss, loss_of_labels
from autotune.trial.tasks.base import IGNORE_INDEX, is_evaluated

SPAN_LABELS = ("start_positions", "end_positions")
"""The arguments of models that predict spans."""


@dataclass(frozen=True)
class Loss:
    """The loss of a task of ``kind``. ``class_weights`` (``[classes]``) are passed to ``function``
    where the task has them, ``label_smoothing`` where training has it: evaluation does not.
    ``penalty`` is what a lever adds to the mean loss of training."""

    kind: TaskKind
    function: Callable[..., Tensor]
    class_weights: Tensor | None = None
    label_smoothing: float = 0.0
    penalty: Callable[[], Tensor] | None = None
    distillation: Distillation | None = None

    def __call__(self, logits: Tensor, labels: Tensor, teacher: Tensor | None = None) -> Tensor:
        """The sum over all evaluated labels, in training. With ``distillation``, the logits of the
        ``teacher`` (in the shape of ``logits``) are learned too, where they are given.

        Divided by the number of labels of the whole batch, it makes accumulated gradients equal to
        those of the batch, whatever the micro-batches (:func:`span_cross_entropy` excepted).
        """
        smoothing = {"label_smoothing": self.label_smoothing} if self.label_smoothing else {}
        losses = self.per_label(logits, labels, **smoothing)
        if teacher is not None and self.distillation is not None:
            from_teacher = self.distillation.divergence(self.kind, logits.float(), teacher)
            weight = self.distillation.weight
            losses = (1 - weight) * losses + weight * from_teacher * is_evaluated(labels)
        total = losses.sum()
        if self.penalty is not None:
            total = total + is_evaluated(labels).sum() * self.penalty()
        return total

    def per_label(self, logits: Tensor, labels: Tensor, **smoothing: float) -> Tensor:
        """The loss of each label, in the shape of ``labels``."""
        weights = () if self.class_weights is None else (self.class_weights.to(logits.device),)
        losses = self.function(logits.float(), labels, *weights, **smoothing)
        if losses.shape != labels.shape:
            raise UsageError(
                f"the loss returns the shape {[*losses.shape]} for labels of {[*labels.shape]}",
                hint="return the loss of each label, without a sum or mean",
            )
        return losses


def build_loss(
    prepared: PreparedTask,
    label_smoothing: float = 0.0,
    penalty: Callable[[], Tensor] | None = None,
) -> Loss:
    """The loss of ``prepared``, with the lever ``label_smoothing`` and ``penalty`` in training."""
    kind, weights = kind_of(prepared), prepared.class_weights
    tensor = None if weights is None else torch.tensor(weights)
    function = _loss_function(prepared.loss or kind.loss)
    return Loss(kind, function, tensor, label_smoothing, penalty)


def kind_of(prepared: PreparedTask) -> TaskKind:
    """The kind of task. Where texts are divided into windows, predictions are logits, whose mean
    decides on the text."""
    kind = TASK_KINDS.find(prepared.kind)
    if prepared.has_windows and not kind.label_per_token:
        return replace(kind, predicts_classes=False)
    return kind


def _loss_function(reference: Callable[..., Any] | str) -> Callable[..., Tensor]:
    """The function of a name of :data:`LOSSES`, or behind ``module:name``."""
    if isinstance(reference, str) and reference in LOSSES:
        reference = LOSSES[reference].function
    function: Callable[..., Tensor] = import_function(reference, "task.loss")
    return function


def output_logits(outputs: Any) -> Tensor:
    """The logits of a model's output: ``[rows, labels]``, or ``[rows, length, labels]``. Models for
    spans return those of starts and ends one by one."""
    if hasattr(outputs, "start_logits"):
        return torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)
    logits: Tensor = outputs.logits
    return logits


def label_arguments(kind: TaskKind, labels: Tensor) -> dict[str, Tensor]:
    """``labels`` as arguments of the model, which then computes its own loss."""
    if kind.predicts_spans:
        return dict(zip(SPAN_LABELS, labels.unbind(dim=1), strict=True))
    return {"labels": labels}


def batch_loss(prepared: PreparedTask) -> BatchLoss:
    """The mean loss of a batch that has labels as arguments of the model (:func:`label_arguments`):
    what the model computes, unless the task has a loss of its own, or class weights."""
    if prepared.loss is None and prepared.class_weights is None:
        return loss_of_labels
    own, kind = build_loss(prepared), kind_of(prepared)

    def compute(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Tensor:
        arguments: dict[str, Any] = {name: t.to(model.device) for name, t in batch.items()}
        names = SPAN_LABELS if kind.predicts_spans else ("labels",)
        labels = torch.stack([arguments.pop(name) for name in names], dim=1)
        labels = labels if kind.predicts_spans else labels[:, 0]
        return own(output_logits(model(**arguments)), labels) / is_evaluated(labels).sum()

    return compute


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy in nats, times the weight of the label. With ``label_smoothing``, this share of
    each label is spread evenly over all classes."""
    losses = functional.cross_entropy(
        logits.flatten(0, -2),
        labels.flatten(),
        weight=class_weights,
        ignore_index=IGNORE_INDEX,
        reduction="none",
        label_smoothing=label_smoothing,
    )
    return losses.view(labels.shape)


def squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    """The square of the difference of the only logit (``[rows, 1]``) and the label (``[rows]``)."""
    values = logits.squeeze(-1)
    return functional.mse_loss(values, _without_ignored(labels, values), reduction="none")


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in nats of each of several independent labels, which are 0 or 1."""
    targets = _without_ignored(labels, logits)
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return torch.where(is_evaluated(labels), losses, 0.0)


def span_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in nats of the first and of the last token of a span among all tokens: of
    ``logits`` ``[rows, length, 2]`` and ``labels`` ``[rows, 2]``.

    As in Trainer, padding is among the tokens, so a loss depends on the length of the batch, or
    micro-batch, that the row is padded to.
    """
    return functional.cross_entropy(
        logits.transpose(1, 2).flatten(0, 1),
        labels.flatten(),
        ignore_index=IGNORE_INDEX,
        reduction="none",
    ).view(labels.shape)


def _without_ignored(labels: Tensor, values: Tensor) -> Tensor:
    """``labels`` with ``values``, which have no gradient there, for those that are NaN."""
    return torch.where(is_evaluated(labels), labels, values.detach())
