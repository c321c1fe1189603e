"""A trained model in the format of ``from_pretrained``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autotune.deployment import trained_model
from autotune.deployment.artifact import read_artifact, write_artifact
from autotune.deployment.runtimes import HUB
from autotune.export.templates.checkpoint import save


def write_hub_model(model: Path, folder: Path) -> None:
    """Replace the weights of the artifact in ``folder`` by those that ``from_pretrained`` loads,
    and add all files of the tokenizer. ``model`` is the folder of the trained model."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    save(trained_model.load(model), tokenizer, folder)
    (folder / trained_model.TASK).unlink()
    artifact = replace(read_artifact(folder), runtime=HUB, quantization="none")
    write_artifact(folder, artifact)
