"""Levers ``pruning_ratio``, ``pruning_method`` and ``pruning_score``: make an encoder smaller.

Three methods. ``structured`` removes attention heads and feed-forward neurons, the same share in
every layer, so that what remains is an ordinary, smaller, faster model. ``layers`` removes whole
layers from the top. ``unstructured`` holds single weights at zero: no faster on dense kernels, but
the classic yardstick for what the other two lose.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from autotune.errors import UsageError
from autotune.trial.effects.pruning_masks import Masks, magnitude_masks
from autotune.trial.effects.pruning_plan import PruningPlan, apply_plan, identity_plan
from autotune.trial.effects.pruning_scores import (
    Batches,
    LayerScores,
    magnitude_scores,
    taylor_scores,
)
from autotune.trial.encoder import encoder_of

METHODS = ("structured", "unstructured", "layers")
SCORES = ("taylor", "magnitude")

FLOPS_LENGTH = 128
"""Tokens a sequence for which the ratio of floating-point operations is estimated."""


@dataclass(frozen=True)
class PruningReport:
    """What was done. ``plan`` is plain JSON data and repeats the removal on a fresh model.

    ``flops_ratio`` is the encoder's floating-point operations after over before, for sequences of
    :data:`FLOPS_LENGTH` tokens, zeros counted as work. ``masks`` is set by the unstructured method
    alone and must be kept applied while training (:meth:`Masks.hold`).
    """

    plan: PruningPlan
    parameters_before: int
    parameters_after: int
    flops_ratio: float
    masks: Masks | None = None


def prune(
    model: PreTrainedModel,
    *,
    ratio: float,
    method: str = "structured",
    score: str = "taylor",
    batches: Batches = (),
) -> PruningReport:
    """Prune the encoder of ``model`` in place by ``ratio``, in [0, 1); 0 changes nothing.

    Prune before the optimizer is built and before anything wraps the model or its layers.
    ``score`` ranks heads and neurons for ``structured`` only; ``taylor`` reads all of ``batches``
    (a few dozen samples do), in the order given.

    Raises :class:`~autotune.errors.UsageError` for a ratio, method or score that does not exist,
    :class:`~autotune.errors.Unsupported` for a model that cannot be looked into.
    """
    _check(ratio, method, score)
    plan, masks = identity_plan(model), None
    parameters, flops = model.num_parameters(), encoder_flops(model)
    if ratio > 0 and method == "structured":
        scores = taylor_scores(model, batches) if score == "taylor" else magnitude_scores(model)
        plan = structured_plan(scores, ratio)
    elif ratio > 0 and method == "layers":
        plan = drop_top_layers(plan, ratio)
    elif ratio > 0:
        masks = magnitude_masks(encoder_of(model).linears, ratio)
        masks.apply()
    apply_plan(model, plan)
    return PruningReport(
        plan=plan,
        parameters_before=parameters,
        parameters_after=model.num_parameters(),
        flops_ratio=encoder_flops(model) / flops,
        masks=masks,
    )


def _check(ratio: float, method: str, score: str) -> None:
    if not 0 <= ratio < 1:
        raise UsageError(f"pruning_ratio is {ratio:g}", hint="give a share from 0 to below 1")
    if method not in METHODS:
        raise UsageError(f"no pruning method {method!r}", hint=f"one of {', '.join(METHODS)}")
    if score not in SCORES:
        raise UsageError(f"no pruning score {score!r}", hint=f"one of {', '.join(SCORES)}")


def structured_plan(scores: list[LayerScores], ratio: float) -> PruningPlan:
    """Keep the most important heads and neurons of each layer, in their old order."""
    return PruningPlan(
        layers=list(range(len(scores))),
        heads=[_best(s.heads, units_to_keep(len(s.heads), ratio)) for s in scores],
        neurons=[_best(s.neurons, neurons_to_keep(len(s.neurons), ratio)) for s in scores],
    )


def drop_top_layers(whole: PruningPlan, ratio: float) -> PruningPlan:
    """Keep the lowest layers: dropping from the top loses least of the ways to choose layers, or
    near to it, over models and tasks (Sajjad et al., "Poor Man's BERT"): the top is closest to the
    task it was pretrained on, and fine-tuning rewrites it anyway."""
    count = units_to_keep(len(whole["layers"]), ratio)
    return PruningPlan(
        layers=whole["layers"][:count],
        heads=whole["heads"][:count],
        neurons=whole["neurons"][:count],
    )


def units_to_keep(total: int, ratio: float, multiple: int = 1) -> int:
    """How many of ``total`` units stay: the nearest multiple of ``multiple`` to the exact share,
    but at least one multiple and at most all."""
    steps = int(total * (1 - ratio) / multiple + 0.5)
    return min(total, max(1, steps) * multiple)


def neurons_to_keep(total: int, ratio: float) -> int:
    """How many neurons stay: a multiple of 64, or of the next lower power of two that divides the
    whole into four steps or more, so that a tile of a matrix kernel is rarely cut."""
    multiple = 64
    while multiple > 1 and total < 4 * multiple:
        multiple //= 2
    return total if ratio == 0 else units_to_keep(total, ratio, multiple)


def encoder_flops(model: PreTrainedModel, length: int = FLOPS_LENGTH) -> float:
    """Floating-point operations of the encoder's matrix products for one sequence, forward."""
    total = 0
    for layer in encoder_of(model).layers:
        weights = sum(linear.weight.numel() for linear in layer.linears)
        attention = 2 * length * layer.heads * layer.head_size
        total += 2 * length * (weights + attention)
    return float(total)


def _best(scores: Tensor, count: int) -> list[int]:
    order = scores.argsort(descending=True, stable=True)[:count]
    return sorted(int(index) for index in order)
