"""Reads tables from CSV, JSON Lines and Parquet files, with the line of each row.

``datasets`` is not used, because its errors do not name the line and its import takes a second.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotune.errors import DataError


@dataclass(frozen=True)
class Table:
    """One split: ``columns`` of equal length by name, and 1-based ``lines`` of a text file.

    ``classes`` has the names of integer labels, for the columns where the source declares them.
    """

    name: str
    columns: Mapping[str, Sequence[Any]]
    lines: Sequence[int] | None = None
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def where(self, row: int) -> str:
        """``file:line``, or ``file row 7`` (1-based) for files without lines."""
        return (
            f"{self.name} row {row + 1}" if self.lines is None else f"{self.name}:{self.lines[row]}"
        )


def read_table(path: Path) -> Table:
    """The rows of a ``.csv``, ``.tsv``, ``.jsonl``, ``.json`` (one object a line) or ``.parquet``
    file. Raises :class:`DataError` with ``file:line`` for a row that cannot be read."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: cannot tell the format of a file named *{path.suffix}",
            hint=f"name it with one of {', '.join(READERS)}",
        )
    try:
        return reader(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror or error}", hint="check its permissions"
        ) from error


def _read_jsonl(path: Path) -> Table:
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if raw.strip():
                rows.append(_json_object(raw, f"{path}:{number}"))
                lines.append(number)
    names = dict.fromkeys(name for row in rows for name in row)
    return Table(str(path), {name: [row.get(name) for row in rows] for name in names}, lines)


def _json_object(raw: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(raw.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:  # JSONDecodeError or UnicodeDecodeError
        raise DataError(
            f"{where}: not a JSON object: {error}", hint="write one JSON object on each line"
        ) from error
    if not isinstance(row, dict):
        raise DataError(
            f"{where}: a JSON {type(row).__name__}, not an object",
            hint='write one JSON object on each line, such as {"text": "...", "label": "..."}',
        )
    return row


def _read_csv(path: Path) -> Table:
    lines: list[int] = []
    rows: list[list[str]] = []
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(io.StringIO(_decode(path), newline=""), delimiter=delimiter, strict=True)
    limit = csv.field_size_limit(sys.maxsize)  # long texts are valid
    try:
        names = next(reader, [])
        start = reader.line_num + 1
        for row in reader:
            if row:
                _check_width(row, names, f"{path}:{start}")
                rows.append(row)
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}:{reader.line_num}: not CSV: {error}",
            hint="look for a missing closing quote",
        ) from error
    finally:
        csv.field_size_limit(limit)
    return Table(str(path), {name: [row[i] for row in rows] for i, name in enumerate(names)}, lines)


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 text", hint="save the file as UTF-8") from error


def _check_width(row: list[str], names: list[str], where: str) -> None:
    if len(row) != len(names):
        raise DataError(
            f"{where}: {len(row)} fields where the first line names {len(names)} "
            f"({', '.join(names)})",
            hint='quote texts that contain commas: "so, like this"',
        )


def _read_parquet(path: Path) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise DataError(
            f"{path}: not a Parquet file: {error}", hint="write it again, or as JSON Lines"
        ) from error
    return Table(str(path), {name: table[name].to_pylist() for name in table.column_names})


READERS = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".json": _read_jsonl,
    ".parquet": _read_parquet,
}
