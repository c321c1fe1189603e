"""A trained model in the format of ``from_pretrained``.

The configs of transformers have no fewer heads of the same size, and no layers of different sizes.
A pruned model is therefore written twice: with zeros in place of what was removed, which any
``from_pretrained`` loads, and in a folder of its own in its own shapes, with the class that has
them.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel

from autotune.deployment import trained_model
from autotune.deployment.artifact import PRUNED, read_artifact, write_artifact
from autotune.deployment.runtimes import HUB
from autotune.export.templates.checkpoint import save

MODULE, CLASS = "modeling_pruned", "PrunedModel"

SOURCE = '''"""{base}, whose linear layers have the sizes that ``linear_sizes`` of the config lists.

    from transformers import {auto_class}

    model = {auto_class}.from_pretrained("pruned", trust_remote_code=True)
"""

import torch
from torch import nn
from transformers import {base}


class {name}({base}):
    def __init__(self, config):
        super().__init__(config)
        for name, (rows, columns) in config.linear_sizes.items():
            layer = self.get_submodule(name)
            layer.out_features, layer.in_features = rows, columns
            layer.weight = nn.Parameter(torch.empty(rows, columns))
            if layer.bias is not None:
                layer.bias = nn.Parameter(torch.empty(rows))
'''


def write_hub_model(model: Path, folder: Path) -> None:
    """Replace the weights of the artifact in ``folder`` by those that ``from_pretrained`` loads,
    and add all files of the tokenizer. ``model`` is the folder of the trained model."""
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    loaded = trained_model.load(model)
    if sizes := other_sizes(loaded):
        auto_class = trained_model.read_facts(model).auto_class
        write_pruned(loaded, sizes, auto_class, tokenizer, folder / PRUNED)
    save(loaded, tokenizer, folder)
    (folder / trained_model.TASK).unlink()
    artifact = replace(read_artifact(folder), runtime=HUB, quantization="none")
    write_artifact(folder, artifact)


def other_sizes(model: PreTrainedModel) -> dict[str, list[int]]:
    """The sizes (outputs, inputs) of the linear layers that differ from those of the config."""
    with torch.device("meta"):
        original = type(model)(model.config)
    return {
        name: list(module.weight.shape)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module.weight.shape != original.get_submodule(name).weight.shape
    }


def write_pruned(
    model: PreTrainedModel,
    sizes: dict[str, list[int]],
    auto_class: str,
    tokenizer: Any,
    folder: Path,
) -> None:
    """Write ``model`` in its own shapes to ``folder``, which is created."""
    base, config = type(model).__name__, deepcopy(model.config)
    config.architectures = [base]
    config.linear_sizes = sizes
    config.auto_map = {auto_class: f"{MODULE}.{CLASS}"}
    folder.mkdir()
    trained_model.save_weights(model, folder)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    source = SOURCE.format(base=base, auto_class=auto_class, name=CLASS)
    (folder / f"{MODULE}.py").write_text(source, encoding="utf-8")
