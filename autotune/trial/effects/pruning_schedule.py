"""Lever ``pruning_schedule``: what is trained before heads and neurons are scored and removed.

``one-shot`` scores the pretrained model, whose classifier is random. ``after-warmup`` trains the
classifier first, so that the gradients of the loss are those of the task. ``gradual`` trains the
whole model, removes some, and so on, with ratios that rise as in Zhu and Gupta, "To Prune, or Not
to Prune" (2017). All of it is a part of model set-up: training starts with the final shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice

from torch import Tensor, nn
from torch.optim import AdamW
from transformers import PreTrainedModel

from autotune.domain import Strategy
from autotune.domain.training import PRUNING_TRAINING_STEPS
from autotune.trial.effects.optimizers import MAX_GRADIENT_NORM, clip_gradients
from autotune.trial.effects.parameter_groups import head_parameters
from autotune.trial.effects.pruning_scores import BatchLoss, loss_of_labels

Batches = Iterator[Mapping[str, Tensor]]
"""Training batches as model arguments, with ``labels``."""

HEAD_RATE = 1e-3
"""Learning rate of the classifier while nothing else is trained."""

GRADUAL_REMOVALS = 4
"""Steps in which ``gradual`` removes heads and neurons."""


def removal_ratios(schedule: str, ratio: float) -> list[float]:
    """The share of the unpruned encoder that is removed after each removal of ``schedule``. The
    last one is ``ratio``: most is removed early, when the model has the most to spare."""
    count = GRADUAL_REMOVALS if schedule == "gradual" else 1
    return [ratio * (1 - (1 - step / count) ** 3) for step in range(1, count + 1)]


def training_before_removals(
    strategy: Strategy, model: PreTrainedModel, batches: Batches, loss: BatchLoss = loss_of_labels
) -> Callable[[], None]:
    """What to call before each removal. All calls together train on ``batches``, of which there
    have to be :data:`~autotune.domain.training.PRUNING_TRAINING_STEPS`."""
    schedule, rate = strategy["pruning_schedule"], float(strategy["learning_rate"])
    if schedule == "after-warmup":
        return lambda: train_head(model, batches, loss)
    if schedule == "gradual":
        steps = PRUNING_TRAINING_STEPS // GRADUAL_REMOVALS
        return lambda: train_model(model, islice(batches, steps), rate, loss)
    return lambda: None


def train_head(model: PreTrainedModel, batches: Batches, loss: BatchLoss = loss_of_labels) -> None:
    """Train pooler and classifier, one step a batch, on the features of the encoder as it is:
    without dropout."""
    with _mode(model, training=False), _only_trained(model, head_parameters(model)):
        _train(model, batches, HEAD_RATE, loss)


def train_model(
    model: PreTrainedModel, batches: Batches, rate: float, loss: BatchLoss = loss_of_labels
) -> None:
    """Train all weights at the learning rate ``rate``, one step a batch. The states of the
    optimizer end with it: the next removal changes the weights."""
    with _mode(model, training=True):
        _train(model, batches, rate, loss)


def _train(model: PreTrainedModel, batches: Batches, rate: float, loss: BatchLoss) -> None:
    parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(parameters, rate, weight_decay=0.0)
    for batch in batches:
        loss(model, batch).backward()
        clip_gradients(parameters, MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


@contextmanager
def _mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    before = model.training
    model.train(training)
    try:
        yield
    finally:
        model.train(before)


@contextmanager
def _only_trained(model: nn.Module, parameters: list[nn.Parameter]) -> Iterator[None]:
    """Freeze all weights of ``model`` but ``parameters``."""
    trained = {id(parameter) for parameter in parameters}
    frozen = [p for p in model.parameters() if p.requires_grad and id(p) not in trained]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
