"""Levers of the model's size: pruning, freezing and dropout."""

from __future__ import annotations

from dataclasses import replace

from autotune.domain import Categorical, ForbiddenClause, Range, Strategy, WorkloadProfile
from autotune.domain.training import PRUNING_SCORE_BATCH_SIZE, PRUNING_TRAINING_STEPS
from autotune.levers.base import ACCURACY, MEMORY, SCRIPT, SHAPE, SPEED, TRIAL_LOOP, Lever
from autotune.levers.model_shape import ModelShape
from autotune.levers.numerics import UNPADDED

PRUNING_TRAINING_EXAMPLES = PRUNING_TRAINING_STEPS * PRUNING_SCORE_BATCH_SIZE

TRAINING_PASSES = {"one-shot": 0, "after-warmup": 1, "gradual": 3}
"""Passes over an example in the training before pruning: the classifier alone needs no backward
pass of the encoder."""


def _prune(shape: ModelShape, strategy: Strategy, profile: WorkloadProfile) -> ModelShape:
    """The same counts as :mod:`autotune.trial.effects.pruning` keeps."""
    ratio, method = float(strategy["pruning_ratio"]), strategy["pruning_method"]
    if ratio == 0:
        return shape
    if method == "unstructured":
        return replace(shape, has_masks=True)
    if method == "layers":
        return replace(shape, layers=max(1, int(profile.layers * (1 - ratio) + 0.5)))
    heads = max(1, int(profile.heads * (1 - ratio) + 0.5)) / profile.heads
    schedule = str(strategy["pruning_schedule"])
    is_gradual = schedule == "gradual"
    return replace(
        shape,
        heads=heads,
        intermediate=1 - ratio,
        has_gradient_scores=strategy["pruning_score"] == "taylor" or is_gradual,
        trains_unpruned=is_gradual,
        setup_passes=TRAINING_PASSES[schedule] * PRUNING_TRAINING_EXAMPLES,
    )


PRUNING_RATIO = Lever(
    name="pruning_ratio",
    summary="Share of the encoder removed before fine-tuning",
    domain=Range(0.0, 0.95),
    default=0.0,
    influences=frozenset({SPEED, MEMORY, ACCURACY, SHAPE}),
    auto=lambda host: Range(0.0, 0.75, step=0.25),
    workload=_prune,
    effect="autotune.trial.effects.pruning:prune",
    exports={SCRIPT: "{effect}, before training"},
)

PRUNING_METHOD = Lever(
    name="pruning_method",
    summary="Remove heads and feed-forward units, zero single weights, or drop whole layers",
    domain=Categorical(("structured", "unstructured", "layers")),
    default="structured",
    influences=frozenset({SPEED, MEMORY, ACCURACY, SHAPE}),
    when="pruning_ratio > 0",
    effect="autotune.trial.effects.pruning:prune",
    exports={SCRIPT: "{effect}"},
)

PRUNING_SCORE = Lever(
    name="pruning_score",
    summary="Importance of a head or unit: its effect on the loss, or the size of its weights",
    domain=Categorical(("taylor", "magnitude")),
    default="taylor",
    # Scores by effect on the loss need gradients of the whole model at set-up: time and memory.
    influences=frozenset({SPEED, MEMORY, ACCURACY, SHAPE}),
    when="pruning_ratio > 0 and pruning_method == structured",
    effect="autotune.trial.effects.pruning_scores:taylor_scores",
    exports={SCRIPT: "{effect}"},
)

PRUNING_SCHEDULE = Lever(
    name="pruning_schedule",
    summary="Prune at once, once the classifier has warmed up, or in steps with training between",
    domain=Categorical(("one-shot", "after-warmup", "gradual")),
    default="one-shot",
    # Training before pruning is a part of set-up: time and memory.
    influences=frozenset({SPEED, MEMORY, ACCURACY, SHAPE}),
    when="pruning_ratio > 0 and pruning_method == structured",
    effect="autotune.trial.effects.pruning_schedule:training_before_removals",
    exports={SCRIPT: "{effect}"},
    forbidden=(
        ForbiddenClause("pruning_schedule == 'after-warmup' and pruning_score == magnitude",
            "the sizes of weights do not depend on the classifier"),
        ForbiddenClause("pruning_schedule == 'after-warmup' and placement == mixed",
            "a CPU and a GPU would train classifiers that differ"),
        ForbiddenClause("pruning_schedule == gradual and freeze_layers > 0",
            "frozen layers keep their pretrained weights"),
        ForbiddenClause("pruning_schedule == gradual and adapter != none",
            "an adapter leaves the weights of its layer as they are"),
        ForbiddenClause("pruning_schedule == gradual and parallelism != none",
            "ranks prune by themselves, and would train models that differ"),
        ForbiddenClause("pruning_schedule == gradual and placement != single",
            "the complete model is trained on one device first"),
        ForbiddenClause("pruning_schedule == gradual and offload != none",
            "the complete model is trained first, with the optimizer on its device"),
        ForbiddenClause(f"pruning_schedule == gradual and attention == {UNPADDED}",
            "the complete model is trained in fp32, which flash-attn does not compute"),
    ),
)  # fmt: skip


def _freeze(shape: ModelShape, strategy: Strategy, profile: WorkloadProfile) -> ModelShape:
    return replace(shape, frozen=int(strategy["freeze_layers"]))


FREEZE_LAYERS = Lever(
    name="freeze_layers",
    summary="Train all (0), all but the embeddings (1), or also freeze the lowest n - 1 layers (n)",
    domain=Range(0, 1000, integer=True),
    default=0,
    influences=frozenset({SPEED, MEMORY, ACCURACY}),
    auto=lambda host: Categorical((0, 1, 3)),
    workload=_freeze,
    effect="autotune.trial.effects.freezing:freeze",
    exports={SCRIPT: "{effect}"},
)


def _cache(shape: ModelShape, strategy: Strategy, profile: WorkloadProfile) -> ModelShape:
    return replace(shape, caches_activations=True)


CACHE_ACTIVATIONS = Lever(
    name="cache_activations",
    summary="Compute the outputs of frozen layers once for each example, without dropout",
    domain=Categorical((False, True)),
    default=False,
    influences=frozenset({SPEED, MEMORY, ACCURACY}),
    when="freeze_layers > 0",
    workload=_cache,
    effect="autotune.trial.activation_cache:cached_activations",
    exports={TRIAL_LOOP: "{effect}"},
    forbidden=(
        ForbiddenClause("cache_activations == true and parallelism != none",
            "each rank would need the outputs of all examples"),
        ForbiddenClause("cache_activations == true and placement != single",
            "layers on several devices run as one model"),
        ForbiddenClause("cache_activations == true and offload == parameters",
            "offloaded layers run as one model"),
    ),
)  # fmt: skip


def _set_dropout(shape: ModelShape, strategy: Strategy, profile: WorkloadProfile) -> ModelShape:
    dropout = strategy["dropout"]
    return shape if isinstance(dropout, str) else replace(shape, has_dropout=float(dropout) > 0)


DROPOUT = Lever(
    name="dropout",
    summary="Dropout of hidden states and attention in training, or the model's own",
    domain=Range(0.0, 0.9),
    named_values=("model",),
    default="model",
    influences=frozenset({SPEED, MEMORY, ACCURACY}),
    auto=lambda host: Categorical(("model", 0.0)),
    workload=_set_dropout,
    effect="autotune.trial.models:load_model",
    exports={SCRIPT: "{effect}: the model's config"},
)
