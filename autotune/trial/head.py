"""The head of a model that was fine-tuned before, for the labels of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.trial.model_sources import read_config

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

DEFAULT_NAME = "LABEL_"
"""transformers names labels without names ``LABEL_0``, ``LABEL_1``, ..."""

HEADS = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
"""Ends of the names of model classes whose weights include a head for labels."""


def label_order(trained: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """For each of ``labels`` its row in a head with the labels ``trained``; ``None`` if these are
    not the same names. Case does not matter."""
    rows = {_plain(name): row for row, name in enumerate(trained)}
    order = [rows.get(_plain(name), -1) for name in labels]
    return order if sorted(order) == list(range(len(trained))) else None


def _plain(name: str) -> str:
    return name.removeprefix(DEFAULT_NAME).casefold()


def trained_head(model: PreTrainedModel, report: Mapping[str, Any]) -> nn.Linear | None:
    """The layer of ``model`` with one row per label, if its weights were loaded; else ``None``.
    ``report`` is the loading info of transformers."""
    from torch import nn

    drawn = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    base, labels = model.base_model_prefix, model.config.num_labels
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module.out_features == labels
        and not name.startswith(f"{base}.")
    ]
    if not layers or f"{layers[-1][0]}.weight" in drawn:
        return None
    return layers[-1][1]


def fit_head(head: nn.Linear, before: PretrainedConfig, labels: Sequence[str], seed: int) -> None:
    """Put the rows of ``head`` into the order of ``labels``; where it was trained for other labels,
    initialise it with ``seed``. ``before`` is the config with which it was saved."""
    import torch

    order = label_order(names_in(before.id2label or {}), labels)
    with torch.no_grad():
        if order is None:
            generator = torch.Generator().manual_seed(seed)
            deviation = getattr(before, "initializer_range", None) or 0.02
            head.weight.normal_(0.0, deviation, generator=generator)
            if head.bias is not None:
                head.bias.zero_()
        elif order != sorted(order):
            head.weight.copy_(head.weight[order].clone())
            if head.bias is not None:
                head.bias.copy_(head.bias[order].clone())


def names_in(id2label: Mapping[Any, Any]) -> list[str]:
    """The names of labels by their number."""
    return [str(id2label[key]) for key in sorted(id2label, key=int)]


def head_note(model_dir: Path, labels: Sequence[str]) -> str | None:
    """A note on what :func:`fit_head` does with the head in ``model_dir``; ``None`` for a model
    without a head for labels, or with the same labels in the same order."""
    config = read_config(model_dir)
    if not str((config.architectures or [""])[0]).endswith(HEADS):
        return None
    trained = names_in(config.id2label or {})
    order = label_order(trained, labels)
    if order is None:
        names = f"{', '.join(trained[:5])}{', ...' if len(trained) > 5 else ''}"
        return f"the model's head was trained for other labels ({names}): a new one is initialised"
    if order != sorted(order):
        return "the rows of the model's head are reordered for the labels of the data"
    return None


def has_trained_head(model_dir: Path, labels: Sequence[str]) -> bool:
    """Whether the model in ``model_dir`` was saved with a head that was trained for ``labels``."""
    config = read_config(model_dir)
    is_saved = str((config.architectures or [""])[0]).endswith(HEADS)
    return is_saved and label_order(names_in(config.id2label or {}), labels) is not None
