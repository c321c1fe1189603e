"""Levers of adapters: few trained weights beside or instead of those of the layers."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from autotune.domain import Categorical, ForbiddenClause, Host, Range, Strategy, Value
from autotune.domain.training import ADALORA_INITIAL_RANKS
from autotune.domain.workload import WorkloadProfile
from autotune.levers.base import ACCURACY, MEMORY, SCRIPT, SPEED, Lever
from autotune.levers.model_shape import ModelShape

OPERATIONS = {"lora": 1.05, "adalora": 1.07, "dora": 1.25, "ia3": 1.02}
"""Operations of a forward pass relative to the model alone. DoRA also computes the norms of merged
weights."""

ACTIVATIONS = 0.8
"""Share of the activations that are kept: a matrix without a gradient does not keep its input."""

EXTRA = "pip install 'autotune[peft]'"


def _no_peft(host: Host, value: Value) -> str | None:
    if value == "none" or find_spec("peft") is not None:
        return None
    return f"adapters need the extra peft: {EXTRA}"


def _add_adapter(shape: ModelShape, strategy: Strategy, profile: WorkloadProfile) -> ModelShape:
    """The same layers as :mod:`autotune.trial.effects.adapters` changes; embeddings are frozen."""
    adapter = str(strategy["adapter"])
    trained = _adapter_parameters(strategy, profile) / max(profile.layer_parameters, 1)
    return replace(
        shape,
        frozen=1,
        trained_share=trained,
        operations=shape.operations * OPERATIONS[adapter],
        activations=shape.activations * ACTIVATIONS,
    )


def _adapter_parameters(strategy: Strategy, profile: WorkloadProfile) -> float:
    """Trained parameters in each layer."""
    hidden, intermediate = profile.hidden, profile.intermediate_size
    if strategy["adapter"] == "ia3":
        return 2 * hidden + intermediate
    has_all = strategy["adapter_targets"] == "all"
    inputs = 5 * hidden + intermediate if has_all else 2 * hidden
    outputs = 5 * hidden + intermediate if has_all else 2 * hidden
    magnitudes = outputs if strategy["adapter"] == "dora" else 0
    initial = ADALORA_INITIAL_RANKS if strategy["adapter"] == "adalora" else 1
    return int(strategy["adapter_rank"]) * initial * (inputs + outputs) + magnitudes


ADAPTER = Lever(
    name="adapter",
    summary="Train all weights, or updates (LoRA, AdaLoRA, DoRA) or scales (IA3) of frozen layers",
    domain=Categorical(("none", "lora", "adalora", "dora", "ia3")),
    default="none",
    influences=frozenset({SPEED, MEMORY, ACCURACY}),
    unavailable=_no_peft,
    workload=_add_adapter,
    effect="autotune.trial.effects.adapters:add_adapter",
    exports={SCRIPT: "{effect}, merged after training"},
    forbidden=(
        ForbiddenClause("adapter != none and freeze_layers > 0",
            "an adapter freezes all layers already"),
        ForbiddenClause(
            "adapter != none and pruning_ratio > 0 and pruning_method == unstructured",
            "merging the adapter would fill the pruned weights"),
        ForbiddenClause("adapter != none and layer_decay < 1",
            "the layers themselves are not trained; set the learning rate of the adapter"),
        ForbiddenClause("adapter != none and parallelism != none",
            "adapters are merged in one process; replicas would hardly gain, because few weights "
            "are trained"),
        ForbiddenClause("adapter != none and placement != single",
            "an adapter is on the device of its layer; layers are divided before it is added"),
        ForbiddenClause("adapter != none and offload != none",
            "the few trained weights of an adapter have no states worth offloading"),
    ),
)  # fmt: skip

ADAPTER_RANK = Lever(
    name="adapter_rank",
    summary="Rank of the update of each weight matrix",
    domain=Range(1, 256, integer=True),
    default=8,
    influences=frozenset({SPEED, MEMORY, ACCURACY}),
    when="adapter in [lora, adalora, dora]",
    auto=lambda host: Categorical((4, 8, 16, 32)),
    effect="autotune.trial.effects.adapters:add_adapter",
    exports={SCRIPT: "{effect}"},
)

ADAPTER_ALPHA = Lever(
    name="adapter_alpha",
    summary="Scale of the update: it is multiplied by alpha over rank",
    domain=Range(1, 1024, integer=True),
    default=16,
    influences=frozenset({ACCURACY}),
    when="adapter in [lora, adalora, dora]",
    auto=lambda host: Categorical((8, 16, 32)),
    effect="autotune.trial.effects.adapters:add_adapter",
    exports={SCRIPT: "{effect}"},
)

ADAPTER_TARGETS = Lever(
    name="adapter_targets",
    summary="Matrices with an update: query and value, or all of a layer",
    domain=Categorical(("attention", "all")),
    default="attention",
    influences=frozenset({SPEED, MEMORY, ACCURACY}),
    when="adapter in [lora, adalora, dora]",
    effect="autotune.trial.effects.adapters:add_adapter",
    exports={SCRIPT: "{effect}"},
)
