"""The fine-tuned model as files that ``from_pretrained`` loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from autotune.trial.effects.pruning_plan import PruningPlan, apply_plan, pad_heads
from autotune.trial.encoder import FAMILIES, encoder_of

PLAN = "pruning.json"


def save(model: PreTrainedModel, tokenizer: Any, directory: Path) -> None:
    """Write config, safetensors and tokenizer.

    No config of these families can say "fewer heads of the same size". Where heads were removed
    the model is saved with zero weights in their places, which gives the same outputs, and
    ``pruning.json`` says which to remove again for the speed: see :func:`load_pruned`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if model.config.model_type in FAMILIES and (plan := removed_heads(model)) is not None:
        pad_heads(model)
        (directory / PLAN).write_text(json.dumps(plan) + "\n", encoding="utf-8")
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def removed_heads(model: PreTrainedModel) -> PruningPlan | None:
    """What to keep of the model once heads are padded; ``None`` where no head was removed."""
    layers = encoder_of(model).layers
    if all(layer.attention_output.in_features == layer.attention_output.out_features
           for layer in layers):  # fmt: skip
        return None
    return PruningPlan(
        layers=list(range(len(layers))),
        heads=[list(range(layer.heads)) for layer in layers],
        neurons=[list(range(layer.neurons)) for layer in layers],
    )


def load_pruned(auto_class: Any, directory: Path) -> PreTrainedModel:
    """The model that :func:`save` wrote, with padded heads removed again: as small and fast as it
    was trained. ``auto_class`` is such as ``AutoModelForSequenceClassification``."""
    model: PreTrainedModel = auto_class.from_pretrained(directory)
    plan = directory / PLAN
    if plan.exists():
        apply_plan(model, json.loads(plan.read_text(encoding="utf-8")))
    return model
