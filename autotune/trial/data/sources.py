"""Where rows come from: ``builtin:NAME``, files by split, or a data set of the hub.

A source is named before it is read. Its identity changes when its rows may have changed, so that
what was made from it can be found again without reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from autotune.domain import digest
from autotune.errors import DataError
from autotune.trial.data import cache, docstrings
from autotune.trial.data.tables import Table, read_table

SPLITS = ("train", "validation", "test")

ReadTables = Callable[[], Mapping[str, Table]]
"""Reads every split that the source has; ``train`` is always among them."""


@dataclass(frozen=True)
class Source:
    """Rows that can be read. ``identity`` (plain data) is the same while the rows are the same;
    ``places`` says in words where each split comes from."""

    identity: Any
    descriptions: Mapping[str, str]
    read: ReadTables


def find_source(dataset: str | Mapping[str, str]) -> Source:
    """The source that ``task.dataset`` names. Raises :class:`DataError` where it names none."""
    if not isinstance(dataset, str):
        return _files(dataset)
    if dataset.startswith("builtin:"):
        return _builtin(dataset.removeprefix("builtin:"))
    if Path(dataset).exists():
        raise DataError(
            f"task.dataset: {dataset} is a path, and says not which split it is",
            hint=f"task.dataset: {{train: {dataset}}}",
        )
    return _hub(dataset)


def _builtin(name: str) -> Source:
    if name not in BUILTIN:
        raise DataError(
            f"task.dataset: there is no builtin:{name}",
            hint=f"there are {', '.join(f'builtin:{known}' for known in BUILTIN)}",
        )
    return BUILTIN[name]()


def _docstrings() -> Source:
    identity = {"docstrings": docstrings.RECIPE_VERSION, **docstrings.library_versions()}
    origin = f"docstrings of {', '.join(docstrings.LIBRARIES)}"

    def read() -> Mapping[str, Table]:
        folder = cache.get_or_build("docstrings", digest(identity), docstrings.write_splits)
        return {split: read_table(folder / f"{split}.jsonl") for split in SPLITS}

    return Source(identity, dict.fromkeys(SPLITS, origin), read)


BUILTIN = {"docstrings": _docstrings}


def _files(files: Mapping[str, str]) -> Source:
    for split in files:
        if split not in SPLITS:
            near = get_close_matches(split, SPLITS, n=1, cutoff=0.3)
            raise DataError(
                f"task.dataset: unknown split {split!r}",
                hint=f"task.dataset.{near[0] if near else 'validation'}: {files[split]}",
            )
    if "train" not in files:
        raise DataError("task.dataset: no train split", hint="task.dataset.train: FILE")
    paths = {split: Path(files[split]).expanduser() for split in SPLITS if split in files}
    identity = [[split, *_file_stamp(path)] for split, path in paths.items()]

    def read() -> Mapping[str, Table]:
        return {split: read_table(path) for split, path in paths.items()}

    return Source(identity, {split: str(path) for split, path in paths.items()}, read)


def _file_stamp(path: Path) -> tuple[str, int, int]:
    """Place, size and time of change: these move when the content does, and cost no reading."""
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
    near = get_close_matches(path.name, names, n=1)
    return path.with_name(near[0]) if near else None


def _hub(name: str) -> Source:
    place = {split: f"{name} ({split}) of the hub" for split in SPLITS}
    return Source({"hub": name}, place, lambda: _read_hub(name))


def _read_hub(name: str) -> Mapping[str, Table]:
    found = _load_hub(name)
    if "train" not in found:
        raise DataError(
            f"task.dataset: {name} has no split train, only {', '.join(map(str, found))}",
            hint="save the splits as files: task.dataset: {train: train.jsonl}",
        )
    tables = {
        split: _hub_table(f"{name} {split}", found[split]) for split in SPLITS if split in found
    }
    return {split: table for split, table in tables.items() if not _is_unlabelled(table)}


def _load_hub(name: str) -> Mapping[str, Any]:
    """``owner/set``, ``set/configuration`` and ``owner/set/configuration`` are all in use."""
    from datasets import load_dataset

    problems: list[Exception] = []
    for arguments in _load_arguments(name):
        try:
            return dict(load_dataset(*arguments))
        except (OSError, ValueError) as error:  # not found, no such configuration, out of reach
            problems.append(error)
    raise DataError(
        f"task.dataset: cannot load {name} from the hub: {_first_line(problems[-1])}",
        hint="check the name and the network, or use files: "
        "task.dataset: {train: train.jsonl, validation: validation.jsonl}",
    ) from problems[-1]


def _load_arguments(name: str) -> Sequence[tuple[str, ...]]:
    parts = name.split("/")
    if len(parts) == 2:
        return [(name,), (parts[0], parts[1])]
    return [(name,)] if len(parts) == 1 else [("/".join(parts[:2]), "/".join(parts[2:]))]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _hub_table(name: str, rows: Any) -> Table:
    kinds = {column: getattr(kind, "feature", kind) for column, kind in rows.features.items()}
    classes = {
        column: tuple(kind.names) for column, kind in kinds.items() if hasattr(kind, "names")
    }
    return Table(name, {column: rows[column][:] for column in rows.column_names}, classes=classes)


def _is_unlabelled(table: Table) -> bool:
    """Whether it is one of those test splits whose answers are kept back (every label is -1)."""
    return any(all(value == -1 for value in table.columns[column]) for column in table.classes)
