"""The artifact of PyTorch without compilation: the weights of the trained model, in their type."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from autotune.deployment import trained_model
from autotune.deployment.artifact import Artifact
from autotune.deployment.runtimes.torch_eager import DTYPES


def build_graph(model: Path, artifact: Artifact, folder: Path) -> None:
    """Write what :func:`autotune.deployment.trained_model.load` reads."""
    for name in ("config.json", trained_model.TASK):
        shutil.copyfile(model / name, folder / name)
    dtype = DTYPES[artifact.quantization]
    weights = load_file(model / trained_model.WEIGHTS)
    weights = {n: t.to(dtype) if t.is_floating_point() else t for n, t in weights.items()}
    save_file(weights, folder / trained_model.WEIGHTS, metadata={"format": "pt"})
