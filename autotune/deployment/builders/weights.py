"""The artifact of the runtime ``torch``: the weights of the trained model."""

from __future__ import annotations

import shutil
from pathlib import Path

from autotune.deployment import trained_model


def build_graph(model: Path, folder: Path) -> None:
    """Copy what :func:`autotune.deployment.trained_model.load` reads."""
    for name in ("config.json", trained_model.TASK, trained_model.WEIGHTS):
        shutil.copyfile(model / name, folder / name)
