"""Saves the fine-tuned model in the format of ``from_pretrained``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from autotune.trial.effects.pruning_plan import PruningPlan, apply_plan, pad_heads, pad_neurons
from autotune.trial.encoder import FAMILIES, encoder_of

PLAN = "pruning.json"


def save(model: PreTrainedModel, tokenizer: Any, directory: Path) -> None:
    """Write config, safetensors and tokenizer.

    The config cannot express fewer heads of the same size, nor layers of different sizes. Pruned
    heads and neurons are therefore saved as zeros, which give the same outputs, and
    ``pruning.json`` lists the remaining ones for :func:`load_pruned`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if model.config.model_type in FAMILIES and (plan := unpadding_plan(model)) is not None:
        pad_heads(model)
        pad_neurons(model)
        (directory / PLAN).write_text(json.dumps(plan) + "\n", encoding="utf-8")
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def unpadding_plan(model: PreTrainedModel) -> PruningPlan | None:
    """The plan that removes padded heads and neurons again; ``None`` if there are none."""
    layers = encoder_of(model).layers
    has_all_heads = all(
        layer.attention_output.in_features == layer.attention_output.out_features
        for layer in layers
    )
    if has_all_heads and len({layer.neurons for layer in layers}) == 1:
        return None
    return PruningPlan(
        layers=list(range(len(layers))),
        heads=[list(range(layer.heads)) for layer in layers],
        neurons=[list(range(layer.neurons)) for layer in layers],
    )


def load_pruned(auto_class: Any, directory: Path | str) -> PreTrainedModel:
    """The model that :func:`save` wrote, without the padded heads: as small and fast as in
    training. ``auto_class`` is a class like ``AutoModelForSequenceClassification``."""
    model: PreTrainedModel = auto_class.from_pretrained(directory)
    plan = Path(directory) / PLAN
    if plan.exists():
        apply_plan(model, json.loads(plan.read_text(encoding="utf-8")))
    return model
