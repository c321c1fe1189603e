"""The trained model in the folder of a trial: a folder that is complete or absent.

Needs neither torch nor transformers, because the driver deletes what is no longer kept.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from autotune.deployment.artifact import GRAPH_CACHE_SUFFIX
from autotune.domain import SavedModel

MODEL, PARTIAL, ARTIFACT = "model", "model.partial", "artifact"
"""Names of the folders of the model, of one that is being written, and of what is deployed."""

PRUNED = f"{MODEL}-pruned-"
"""Begin of the names of folders with a pruned copy of the model; the ratio follows."""

PLAN = "pruning-plan-"
"""Begin of the names of files that say what such a copy has left. They stay as long as the model,
so that a copy that is made again is the same."""


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
    """Delete the model in the folder of a trial, what was made of it, and what a killed worker left
    of its deployment. What cannot be deleted stays."""
    named = [folder / name for name in (MODEL, PARTIAL, ARTIFACT)]
    for path in (*named, *derived_paths(folder), *folder.glob(f"*{PLAN}*")):
        delete(path)


@contextmanager
def linked_model(model: Path, scratch: Path) -> Iterator[Path]:
    """``model`` and what deployments have made of it as links in a new folder in ``scratch``, where
    more can be made without a trace in the folder of the trial, which may be read-only."""
    folder = scratch / f".{MODEL}-links"
    folder.mkdir(parents=True)
    try:
        for path in (model, *derived_paths(model.parent), *model.parent.glob(f"{PLAN}*")):
            if not is_draft(path):
                (folder / path.name).symlink_to(path.resolve())
        yield folder / model.name
    finally:
        shutil.rmtree(folder)


def derived_paths(folder: Path) -> list[Path]:
    """What deployments have made of the model in the folder of a trial, to share it: pruned copies,
    then graphs. Drafts of both are included."""
    paths = sorted(folder.glob(f"*{MODEL}*"))
    return [*filter(is_pruned_copy, paths), *(p for p in paths if GRAPH_CACHE_SUFFIX in p.name)]


def is_pruned_copy(path: Path) -> bool:
    """Whether ``path`` is the folder of a pruned copy of a model, or a draft of one."""
    return path.name.startswith((PRUNED, f".{PRUNED}")) and GRAPH_CACHE_SUFFIX not in path.name


def draft_of(path: Path) -> Path:
    """Where to write what is to become ``path``. Workers on several hosts can write at the same
    time."""
    return path.with_name(f".{path.name}.{uuid4().hex}")


def is_draft(path: Path) -> bool:
    """Whether ``path`` was being written, perhaps by a worker that was killed."""
    return path.name.startswith(".")


def disk_bytes(path: Path) -> int:
    """The size of a file, or of all files in a folder; 0 if it is gone."""
    try:
        files = [path] if path.is_file() else list(path.iterdir())
        return sum(file.stat().st_size for file in files)
    except OSError:
        return 0


def delete(path: Path) -> None:
    """Delete a file or a folder. What cannot be deleted stays."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
