"""Data sets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autotune.domain import Columns
from autotune.domain.datasets import NAMED_DATASETS
from autotune.domain.text import closest, first_line
from autotune.errors import DataError
from autotune.trial.tables import Table

SPLITS = ("train", "validation", "test")

OTHER_NAMES = {
    "train": ("training",),
    "validation": ("dev", "valid", "val", "eval", "development", "validation_matched"),
    "test": ("testing", "test_matched"),
}
"""Names of splits in data sets of the hub, in the order in which they are tried."""

FILES_HINT = "task.dataset: {train: train.jsonl, validation: validation.jsonl}"


def read_hub(name: str, chosen: Mapping[str, str]) -> Mapping[str, Table]:
    """All splits of a data set; ``chosen`` has the hub's names of splits, where the study file
    gives them. Raises :class:`DataError` if it cannot be loaded or has no such split."""
    splits = _load(name)
    if name in NAMED_DATASETS:
        usual = NAMED_DATASETS[name].splits.items()
        chosen = {split: source for split, source in usual if source in splits} | {**chosen}
    names = {split: _split_name(name, split, chosen, splits) for split in SPLITS}
    if names["train"] is None:
        raise DataError(
            f"task.dataset: {name} has no split train, only {', '.join(splits)}",
            hint=f"name its splits: task.dataset: {{hub: {name}, train: {next(iter(splits), '')}}}",
        )
    return {
        split: _table(f"{name} {source}", splits[source], _note(name, split, source, chosen))
        for split, source in names.items()
        if source is not None
    }


def leave_out_empty_rows(tables: Mapping[str, Table], columns: Columns) -> Mapping[str, Table]:
    """``tables`` without rows that lack a text or words, with a note on how many these are: a user
    cannot correct the rows of the hub. A table of such rows alone is kept, because another column
    is meant: an error will say so."""
    return {split: _without_empty_rows(split, table, columns) for split, table in tables.items()}


def _without_empty_rows(split: str, table: Table, columns: Columns) -> Table:
    names = (columns.text, columns.text_pair)
    texts = [values for name, values in table.columns.items() if name in names]
    rows = [row for row in range(len(table)) if not any(_is_empty(values[row]) for values in texts)]
    if len(rows) in (0, len(table)):
        return table
    note = f"{split}: {len(table) - len(rows)} rows without a text are left out"
    return replace(table.take(rows), notes=(*table.notes, note))


def _is_empty(value: Any) -> bool:
    """Whether a text, or each word of a list, is missing or has only spaces."""
    words = value if isinstance(value, list) else [value]
    return all(word is None or (isinstance(word, str) and not word.strip()) for word in words)


def _split_name(
    name: str, split: str, chosen: Mapping[str, str], splits: Mapping[str, Any]
) -> str | None:
    """The hub's name of ``split``; ``None`` if the data set has none."""
    if split not in chosen:
        return next((n for n in (split, *OTHER_NAMES[split]) if n in splits), None)
    if chosen[split] in splits:
        return chosen[split]
    match = closest(chosen[split], splits)
    raise DataError(
        f"task.dataset.{split}: {name} has no split {chosen[split]!r}, only {', '.join(splits)}",
        hint=f"task.dataset: {{hub: {name}, {split}: {match or next(iter(splits), split)}}}",
    )


def _note(name: str, split: str, source: str, chosen: Mapping[str, str]) -> str | None:
    if split in chosen or source == split:
        return None
    return (
        f"{split}: the split {source} of {name}; choose another with "
        f"task.dataset: {{hub: {name}, {split}: NAME}}"
    )


def _load(name: str) -> Mapping[str, Any]:
    """Accepts ``owner/set``, ``set/configuration`` and ``owner/set/configuration``."""
    from datasets import load_dataset

    errors: list[Exception] = []
    for arguments in _load_arguments(name):
        try:
            return {str(split): rows for split, rows in load_dataset(*arguments).items()}
        except Exception as error:  # of any type: a script, a proxy, a library that is missing
            errors.append(error)
    scripts = [error for error in errors if _is_script(error)]
    cause = scripts[0] if scripts else errors[-1]
    raise DataError(
        f"task.dataset: cannot load {name} from the hub: {first_line(cause)}",
        hint=_script_hint(name)
        if scripts
        else f"check the name and the network, or use files: {FILES_HINT}",
    ) from cause


def _is_script(error: Exception) -> bool:
    """Whether the data set consists of a Python script, which ``datasets`` no longer runs."""
    text = str(error).lower()
    return "dataset script" in text or "trust_remote_code" in text


def _script_hint(name: str) -> str:
    arguments = ", ".join(f'"{argument}"' for argument in _load_arguments(name)[0])
    return (
        "it is made by a script, which is not run. Look for a copy of it in Parquet files, "
        f"or save its converted rows: datasets.load_dataset({arguments}, "
        'revision="refs/convert/parquet")["train"].to_json("train.jsonl"), '
        f"then {FILES_HINT}"
    )


def _load_arguments(name: str) -> Sequence[tuple[str, ...]]:
    """The arguments of ``load_dataset`` to try, in order: hubs and caches have the well-known data
    sets under an owner, or without one."""
    owned = [NAMED_DATASETS[name].hub] if name in NAMED_DATASETS else []
    return [*owned, *_parts(name)]


def _parts(name: str) -> Sequence[tuple[str, ...]]:
    parts = name.split("/")
    if len(parts) == 2:
        return [(name,), (parts[0], parts[1])]
    return [(name,)] if len(parts) == 1 else [("/".join(parts[:2]), "/".join(parts[2:]))]


def _table(name: str, rows: Any, note: str | None) -> Table:
    kinds = {column: getattr(kind, "feature", kind) for column, kind in rows.features.items()}
    classes = {
        column: tuple(kind.names) for column, kind in kinds.items() if hasattr(kind, "names")
    }
    columns = {column: rows[column][:] for column in rows.column_names}
    return Table(name, columns, classes=classes, notes=() if note is None else (note,))
