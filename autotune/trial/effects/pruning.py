"""Levers ``pruning_ratio``, ``pruning_method`` and ``pruning_score``: make an encoder smaller.
:mod:`autotune.trial.effects.pruning_schedule` says when.

There are three methods. ``structured`` removes the same fraction of attention heads and
feed-forward neurons from every layer; the result is an ordinary, smaller and faster model.
``layers`` removes layers from the top. ``unstructured`` keeps single weights at zero: not faster
with dense kernels, but the usual baseline for the accuracy of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from autotune.errors import UsageError
from autotune.trial.effects.pruning_masks import Masks, magnitude_masks
from autotune.trial.effects.pruning_plan import PruningPlan, apply_plan, compose, identity_plan
from autotune.trial.effects.pruning_schedule import removal_ratios
from autotune.trial.effects.pruning_scores import (
    Batches,
    BatchLoss,
    LayerScores,
    loss_of_labels,
    magnitude_scores,
    taylor_scores,
)
from autotune.trial.encoder import encoder_of

METHODS = ("structured", "unstructured", "layers")
SCORES = ("taylor", "magnitude")


@dataclass(frozen=True)
class PruningReport:
    """The result of pruning. ``plan`` is JSON data, and repeats the removal on a new model.

    Only the unstructured method sets ``masks``, which must be reapplied after every optimizer step.
    """

    plan: PruningPlan
    masks: Masks | None = None


def _train_nothing() -> None:
    pass


def prune(
    model: PreTrainedModel,
    *,
    ratio: float,
    method: str = "structured",
    score: str = "taylor",
    batches: Batches = (),
    schedule: str = "one-shot",
    train: Callable[[], None] = _train_nothing,
    loss: BatchLoss = loss_of_labels,
) -> PruningReport:
    """Prune the encoder of ``model`` in place by ``ratio``, in [0, 1); 0 changes nothing.

    Call it before the optimizer is built and before the model or its layers are wrapped. Only
    ``structured`` uses ``score``; ``taylor`` uses the ``loss`` of all of ``batches`` (a few dozen
    samples suffice). It removes in the steps of ``schedule``, and calls ``train`` before each,
    which may change the weights of ``model``.

    Raises :class:`~autotune.errors.UsageError` for an unknown ratio, method or score,
    :class:`~autotune.errors.Unsupported` for a model family that is not supported.
    """
    _check(ratio, method, score)
    plan, masks = identity_plan(model), None
    if ratio > 0 and method == "structured":
        ratios = removal_ratios(schedule, ratio)
        kept = list(batches)

        def scores() -> Sequence[LayerScores]:
            return (
                taylor_scores(model, kept, loss) if score == "taylor" else magnitude_scores(model)
            )

        plan = _remove_units(model, ratios, scores, train)
    elif ratio > 0 and method == "layers":
        plan = drop_top_layers(plan, ratio)
        apply_plan(model, plan)
    elif ratio > 0:
        masks = magnitude_masks(encoder_of(model).linears, ratio)
        masks.apply()
    return PruningReport(plan, masks)


def _check(ratio: float, method: str, score: str) -> None:
    if not 0 <= ratio < 1:
        raise UsageError(f"pruning_ratio is {ratio:g}", hint="set it to at least 0 and below 1")
    if method not in METHODS:
        raise UsageError(f"unknown pruning method {method!r}", hint=f"one of {', '.join(METHODS)}")
    if score not in SCORES:
        raise UsageError(f"unknown pruning score {score!r}", hint=f"one of {', '.join(SCORES)}")


def _remove_units(
    model: PreTrainedModel,
    ratios: Sequence[float],
    scores: Callable[[], Sequence[LayerScores]],
    train: Callable[[], None],
) -> PruningPlan:
    """Remove heads and neurons, one of ``ratios`` after the other; return the plan of all."""
    complete = plan = identity_plan(model)
    for ratio in ratios:
        train()
        removal = structured_plan(scores(), complete, ratio)
        apply_plan(model, removal)
        plan = compose(plan, removal)
    return plan


def structured_plan(
    scores: Sequence[LayerScores], complete: PruningPlan, ratio: float
) -> PruningPlan:
    """Keep the most important heads and neurons of each layer, in their original order, so that
    ``ratio`` of those in ``complete`` are removed."""
    heads = [units_to_keep(len(units), ratio) for units in complete["heads"]]
    neurons = [neurons_to_keep(len(units), ratio) for units in complete["neurons"]]
    return PruningPlan(
        layers=list(range(len(scores))),
        heads=[_best(s.heads, count) for s, count in zip(scores, heads, strict=True)],
        neurons=[_best(s.neurons, count) for s, count in zip(scores, neurons, strict=True)],
    )


def drop_top_layers(plan: PruningPlan, ratio: float) -> PruningPlan:
    """Keep the lowest layers. Over models and tasks, dropping top layers loses least or close to it
    (Sajjad et al., "Poor Man's BERT"): they are closest to the pretraining task, and fine-tuning
    changes them most."""
    count = units_to_keep(len(plan["layers"]), ratio)
    return PruningPlan(
        layers=plan["layers"][:count],
        heads=plan["heads"][:count],
        neurons=plan["neurons"][:count],
    )


def units_to_keep(total: int, ratio: float, multiple: int = 1) -> int:
    """How many of ``total`` units to keep: the multiple of ``multiple`` nearest to the exact
    number, at least one multiple and at most all."""
    steps = int(total * (1 - ratio) / multiple + 0.5)
    return min(total, max(1, steps) * multiple)


def neurons_to_keep(total: int, ratio: float) -> int:
    """How many neurons to keep: a multiple of 64, or of the next lower power of two of which
    ``total`` has at least four. Multiples suit the tiles of matrix kernels."""
    multiple = 64
    while multiple > 1 and total < 4 * multiple:
        multiple //= 2
    return total if ratio == 0 else units_to_keep(total, ratio, multiple)


def _best(scores: Tensor, count: int) -> list[int]:
    order = scores.argsort(descending=True, stable=True)[:count]
    return sorted(int(index) for index in order)
