"""Data sources: ``builtin:NAME``, files by split, or a data set of the hub (``data/hub.py``).

A source has an identity that changes whenever its rows could have changed. It is a cache key that
can be computed without reading the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from autotune.domain import digest
from autotune.domain.paths import expand_home
from autotune.domain.text import closest
from autotune.errors import DataError
from autotune.trial.data import cache, derived, docstrings
from autotune.trial.data.hub import SPLITS, read_hub
from autotune.trial.tables import Table, read_table

HUB = "hub"
"""The key of ``task.dataset`` for a data set of the hub, beside the names of its splits there."""

ReadTables = Callable[[], Mapping[str, Table]]
"""Reads all splits of a source; ``train`` is always one of them."""


@dataclass(frozen=True)
class Source:
    """``identity`` (plain data) does not change while the rows stay the same. ``descriptions``
    describes the origin of each split. ``is_hub``: the rows are those of a data set of the hub."""

    identity: Any
    descriptions: Mapping[str, str]
    read: ReadTables
    is_hub: bool = False


def find_source(dataset: str | Mapping[str, str]) -> Source:
    """The source that ``task.dataset`` names. Raises :class:`DataError` if there is none."""
    if not isinstance(dataset, str):
        splits = {split: name for split, name in dataset.items() if split != HUB}
        return _hub(dataset[HUB], splits) if HUB in dataset else _files(dataset)
    if dataset.startswith("builtin:"):
        return _builtin(dataset.removeprefix("builtin:"))
    if Path(dataset).exists():
        raise DataError(
            f"task.dataset: {dataset} is a path without the name of its split",
            hint=f"task.dataset: {{train: {dataset}}}",
        )
    return _hub(dataset, {})


def _builtin(name: str) -> Source:
    if name not in BUILTIN:
        raise DataError(
            f"task.dataset: there is no builtin:{name}",
            hint=f"there are {', '.join(f'builtin:{name}' for name in BUILTIN)}",
        )
    return BUILTIN[name]()


def _docstrings() -> Source:
    identity = {"docstrings": docstrings.RECIPE_VERSION, **docstrings.package_versions()}
    origin = f"docstrings of {', '.join(docstrings.LIBRARIES)}"
    return _generated("docstrings", identity, origin, docstrings.write_splits)


def _derived(name: str) -> Source:
    """A data set that is made from ``builtin:docstrings``."""
    origin = _docstrings()

    def write(folder: Path) -> None:
        for split, table in origin.read().items():
            paragraphs = list(zip(table.columns["text"], table.columns["label"], strict=True))
            rows = derived.RECIPES[name](paragraphs, Random(split))
            lines = [json.dumps(row) for row in rows]
            (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    identity = {name: derived.RECIPE_VERSION, **origin.identity}
    return _generated(name, identity, f"made from {origin.descriptions['train']}", write)


def _generated(
    name: str, identity: Mapping[str, Any], origin: str, write: Callable[[Path], None]
) -> Source:
    """A data set whose files ``write`` writes into the cache when they are read first."""

    def read() -> Mapping[str, Table]:
        folder = cache.get_or_build(name, digest(identity), write)
        return {split: read_table(folder / f"{split}.jsonl") for split in SPLITS}

    return Source(identity, dict.fromkeys(SPLITS, origin), read)


BUILTIN: Mapping[str, Callable[[], Source]] = {
    "docstrings": _docstrings,
    **{name: partial(_derived, name) for name in derived.RECIPES},
}


def _files(files: Mapping[str, str]) -> Source:
    for split in files:
        if split not in SPLITS:
            match = closest(split, SPLITS, cutoff=0.3)
            raise DataError(
                f"task.dataset: unknown split {split!r}",
                hint=f"task.dataset.{match or 'validation'}: {files[split]}",
            )
    if "train" not in files:
        raise DataError("task.dataset: no train split", hint="task.dataset.train: FILE")
    paths = {split: expand_home(files[split]) for split in SPLITS if split in files}
    identity = [[split, *_file_stamp(path)] for split, path in paths.items()]

    def read() -> Mapping[str, Table]:
        return {split: read_table(path) for split, path in paths.items()}

    return Source(identity, {split: str(path) for split, path in paths.items()}, read)


def _file_stamp(path: Path) -> tuple[str, int, int]:
    """Path, size and modification time, which change with the content."""
    try:
        state = path.stat()
    except OSError as error:
        near = _nearest_file(path)
        raise DataError(
            f"{path}: {error.strerror or error}",
            hint=f"did you mean {near}?" if near else f"paths start at {Path.cwd()}",
        ) from error
    if not path.is_file():
        raise DataError(f"{path}: not a file", hint="task.dataset names one file for each split")
    return str(path.resolve()), state.st_size, state.st_mtime_ns


def _nearest_file(path: Path) -> Path | None:
    names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    match = closest(path.name, names)
    return path.with_name(match) if match else None


def _hub(name: str, splits: Mapping[str, str]) -> Source:
    """A data set of the hub, whose ``splits`` have other names there."""
    descriptions = {split: f"{name} ({splits.get(split, split)}) from the hub" for split in SPLITS}
    identity = {"hub": name, **splits}
    return Source(identity, descriptions, lambda: read_hub(name, splits), is_hub=True)
