"""The trained model in the folder of a trial: a folder that is complete or absent.

Needs neither torch nor transformers, because the driver deletes what is no longer kept.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from autotune.deployment.artifact import GRAPH_CACHE_SUFFIX
from autotune.domain import SavedModel

MODEL, PARTIAL, ARTIFACT = "model", "model.partial", "artifact"
"""Names of the folders of the model, of one that is being written, and of what is deployed."""

PRUNED = f"{MODEL}-pruned-"
"""Begin of the names of folders with a pruned copy of the model; the ratio follows."""


def write_model(folder: Path, write: Callable[[Path], None]) -> SavedModel:
    """Call ``write`` with an empty folder, and make it the model of the trial in ``folder``. A
    worker that dies meanwhile leaves no model."""
    delete_model(folder)
    partial = folder / PARTIAL
    partial.mkdir(parents=True)
    write(partial)
    model = describe_model(partial)
    partial.replace(folder / MODEL)
    return model


def describe_model(folder: Path) -> SavedModel:
    """The digest (SHA-256, names included) and the size of the files in ``folder``."""
    content, size = hashlib.sha256(), 0
    for path in sorted(folder.iterdir()):
        content.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
        size += path.stat().st_size
    return SavedModel(content.hexdigest(), size)


def has_model(folder: Path, model: SavedModel) -> bool:
    """Whether the folder of a trial has ``model``, undamaged."""
    try:
        return describe_model(folder / MODEL) == model
    except OSError:
        return False


def delete_model(folder: Path) -> None:
    """Delete the model in the folder of a trial, and what a killed worker left of its deployment.
    What cannot be deleted stays."""
    for name in (MODEL, PARTIAL, ARTIFACT):
        shutil.rmtree(folder / name, ignore_errors=True)
    for pattern in (f"{PRUNED}*", f".{PRUNED}*"):
        for path in folder.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f"{MODEL}*{GRAPH_CACHE_SUFFIX}"):
        with suppress(OSError):
            path.unlink()
