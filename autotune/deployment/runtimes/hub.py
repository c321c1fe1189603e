"""The runtime of exported models in the format of ``from_pretrained``: transformers itself.

A pruned model is in the folder :data:`PRUNED` of the export, in its own shapes. Exported folders
contain a copy of this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import transformers

from autotune.deployment import trained_model
from autotune.deployment.artifact import PRUNED, Artifact
from autotune.deployment.predictor import Session
from autotune.deployment.runtimes.torch_outputs import model_session
from autotune.deployment.runtimes.torch_threads import torch_threads


@contextmanager
def open_session(folder: Path, artifact: Artifact, threads: int | None) -> Iterator[Session]:
    """Load the model, to run on ``threads`` threads (``None``: all cores of the process)."""
    model = load_model(folder)
    with torch_threads(threads):
        yield model_session(model)


def load_model(folder: Path) -> transformers.PreTrainedModel:
    """The model of the export in ``folder``, in the shapes that pruning left, and in eval mode."""
    pruned = folder / PRUNED
    source = pruned if pruned.is_dir() else folder
    config = transformers.AutoConfig.from_pretrained(source, local_files_only=True)
    model_class = getattr(transformers, config.architectures[0])
    model: transformers.PreTrainedModel
    if pruned.is_dir():
        model = model_class(config)
        trained_model.load_weights(model, pruned)
    else:
        model = model_class.from_pretrained(folder, local_files_only=True)
    return model.eval()
