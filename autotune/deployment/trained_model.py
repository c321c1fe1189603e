"""A trained model on disk, whatever shape pruning gave it.

The folder has ``config.json``, ``model.safetensors`` with the weights as they are, the tokenizer,
and ``task.json``. ``from_pretrained`` of transformers cannot load layers of different sizes, so
:func:`load` takes the sizes from the weights. Attention of transformers derives the number of heads
from them, and the size of a head from the config, which pruning does not change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from autotune.domain.text import one_line, shorten
from autotune.errors import ModelError

WEIGHTS = "model.safetensors"
TASK = "task.json"


@dataclass(frozen=True)
class TaskFacts:
    """What serving a model needs to know of its task. ``kind`` is the task kind, ``auto_class`` the
    class of transformers that has its head, or the ``module:class`` of the task, ``labels`` are in
    the order of the model's outputs, ``max_length`` is in tokens. Long texts are cut, or divided if
    the task ``has_windows`` or answers questions: two windows share ``stride`` tokens. An answer
    ``may_be_empty``. ``threshold`` is that of predictions (``task.threshold``); ``None`` for
    the usual one. Texts that are too long lose tokens at their ``truncation_side``."""

    kind: str
    auto_class: str
    labels: tuple[str, ...]
    max_length: int
    pad_token_id: int
    is_paired: bool = False
    has_windows: bool = False
    stride: int = 0
    may_be_empty: bool = False
    threshold: float | None = None
    truncation_side: str = "right"


def save(model: PreTrainedModel, tokenizer: Any, facts: TaskFacts, folder: Path) -> None:
    """Write ``model`` with its config, tokenizer and task to ``folder``, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(model, folder)
    tokenizer.save_pretrained(folder)
    text = json.dumps(asdict(facts), indent=2, ensure_ascii=False) + "\n"
    (folder / TASK).write_text(text, encoding="utf-8")


def save_weights(model: PreTrainedModel, folder: Path) -> None:
    """Write ``model`` and its config to ``folder``."""
    model.config.save_pretrained(folder)
    save_model(model, str(folder / WEIGHTS), metadata={"format": "pt"})


def read_facts(folder: Path) -> TaskFacts:
    """Raises :class:`ModelError` for a folder that :func:`save` has not written."""
    path = folder / TASK
    try:
        document = json.loads(path.read_bytes())
        return TaskFacts(**{**document, "labels": tuple(document["labels"])})
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ModelError(
            f"{path}: not the task of a trained model: {shorten(one_line(error), 200)}",
            hint="set keep: front in the study file, and search again",
        ) from error


def load(folder: Path, attention: str | None = None) -> PreTrainedModel:
    """The model in ``folder``, in fp32 on the CPU and in eval mode. Without ``attention`` it is the
    fastest that the model has in transformers."""
    facts = read_facts(folder)
    if ":" in facts.auto_class:  # a file must not decide what is imported
        raise ModelError(
            f"{folder}: the model is of the class {facts.auto_class}, not of transformers",
            hint="load it in Python, with from_pretrained of the class",
        )
    auto_class = getattr(transformers, facts.auto_class)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        model: PreTrainedModel = auto_class.from_config(
            config, attn_implementation=attention, dtype=torch.float32
        )
        load_weights(model, folder)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"{folder}: the trained model cannot be loaded: {shorten(one_line(error), 300)}",
            hint="remove the folder and run the trial again",
        ) from error
    model.eval()
    return model


def load_weights(model: PreTrainedModel, folder: Path) -> None:
    """Give ``model`` the weights in ``folder``, in fp32, and their sizes. Raises
    :class:`ModelError` if they are those of another model."""
    weights = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
    resize(model, weights)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    _require_all(folder, model, missing, unexpected)


def resize(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give each linear layer of ``model`` the size of its weights in ``weights``."""
    for name, module in model.named_modules():
        weight = weights.get(f"{name}.weight")
        if not isinstance(module, nn.Linear) or weight is None:
            continue
        if module.weight.shape != weight.shape:
            module.out_features, module.in_features = weight.shape
            module.weight = nn.Parameter(torch.empty_like(weight))
            if module.bias is not None:
                module.bias = nn.Parameter(torch.empty(module.out_features))


def _require_all(
    folder: Path, model: PreTrainedModel, missing: list[str], unexpected: list[str]
) -> None:
    """Raise unless each weight of the model was in the file, itself or under the name of a tied
    one."""
    state = model.state_dict()
    stored = {state[name].data_ptr() for name in state.keys() - set(missing)}
    absent = [name for name in missing if state[name].data_ptr() not in stored]
    if absent or unexpected:
        raise ModelError(
            f"{folder}: the weights do not fit config.json: {(absent + unexpected)[0]}",
            hint="remove the folder and run the trial again",
        )
