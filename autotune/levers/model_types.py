"""What types of models cannot do, so that it is left out before the first trial."""

from __future__ import annotations

from autotune.domain import Value

LAYERED_TYPES = ("bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta")
"""Types whose heads, neurons and layers can be changed one by one: those with a record in
:data:`autotune.trial.encoder.FAMILIES`."""

LAYER_LEVERS = {"pruning_ratio": 0, "post_pruning_ratio": 0, "freeze_layers": 0, "adapter": "none"}
"""Levers that change layers, with the setting that changes nothing."""


def why_unsupported(lever: str, value: Value, model_type: str | None) -> str | None:
    """Why a model of ``model_type`` cannot run under a setting; ``None`` if it can, or if its type
    is not known."""
    if model_type is None or model_type in LAYERED_TYPES or value == LAYER_LEVERS.get(lever, value):
        return None
    return (
        f"layers of a model of type {model_type} cannot be pruned or frozen one by one; "
        f"supported: {', '.join(LAYERED_TYPES)}"
    )
