"""Reads tables from CSV, JSON Lines and Parquet files, with the line of each row.

``datasets`` is not used, because its errors do not name the line and its import takes a second.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autotune.domain.text import replace_surrogates
from autotune.errors import DataError

BOM = b"\xef\xbb\xbf"

COMPRESSED = (".bz2", ".gz", ".xz", ".zip", ".zst")
"""Endings of compressed files."""

DIALECTS: Mapping[str, Mapping[str, Any]] = {
    ".csv": {"delimiter": ",", "strict": True},
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}
"""How the module ``csv`` reads files, by their ending."""

QUOTED = re.compile('"(?:[^"]|"")+"', re.DOTALL)
"""A text that is quoted as in CSV."""


@dataclass(frozen=True)
class Table:
    """One split: ``columns`` of equal length by name, and 1-based ``lines`` of a text file.

    ``classes`` has the names of integer labels, for the columns where the source declares them.
    ``notes`` say what was changed while reading. ``rows`` are the 0-based rows of the source, if
    this table is a part of it.
    """

    name: str
    columns: Mapping[str, Sequence[Any]]
    lines: Sequence[int] | None = None
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    rows: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def take(self, rows: Sequence[int]) -> Table:
        """The table of ``rows`` only."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        numbers = [row if self.rows is None else self.rows[row] for row in rows]
        return replace(self, columns=columns, rows=numbers)

    def where(self, row: int) -> str:
        """``file:line``, or ``file row 7`` (1-based) for files without lines."""
        row = row if self.rows is None else self.rows[row]
        return (
            f"{self.name} row {row + 1}" if self.lines is None else f"{self.name}:{self.lines[row]}"
        )


def read_table(path: Path) -> Table:
    """The rows of a ``.csv``, ``.tsv``, ``.jsonl``, ``.json`` (one object a line, or one array of
    objects) or ``.parquet`` file. Raises :class:`DataError` with ``file:line`` for a row that
    cannot be read."""
    reader = READERS.get(path.suffix.lower())
    if path.suffix.lower() in COMPRESSED:
        raise DataError(f"{path}: compressed files are not read", hint="decompress it first")
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
    return _table_of_objects(path, rows, lines)


def _read_json(path: Path) -> Table:
    """One array of objects, or one object on each line."""
    with path.open("rb") as file:
        if not file.read(4096).removeprefix(BOM).lstrip().startswith(b"["):
            return _read_jsonl(path)
    rows = _parse_json(path.read_bytes(), str(path), "write one array of objects: [{...}, {...}]")
    return _table_of_objects(
        path, [_require_object(row, f"{path} row {number}") for number, row in enumerate(rows, 1)]
    )


def _table_of_objects(
    path: Path, rows: Sequence[dict[str, Any]], lines: Sequence[int] | None = None
) -> Table:
    names = dict.fromkeys(name for row in rows for name in row)
    table = Table(str(path), {name: [row.get(name) for row in rows] for name in names}, lines)
    return _without_surrogates(table)


def _json_object(raw: bytes, where: str) -> dict[str, Any]:
    return _require_object(_parse_json(raw, where, "write one JSON object on each line"), where)


def _parse_json(raw: bytes, where: str, hint: str) -> Any:
    try:
        return json.loads(raw.removeprefix(BOM), object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:  # JSONDecodeError or UnicodeDecodeError too
        raise DataError(f"{where}: not a JSON object: {error}", hint=hint) from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        name = _repeated([name for name, _ in pairs])
        raise ValueError(f"it has {name!r} twice")
    return row


def _require_object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(
            f"{where}: a JSON {type(row).__name__}, not an object",
            hint='write one JSON object on each line, such as {"text": "...", "label": "..."}',
        )
    return row


def _without_surrogates(table: Table) -> Table:
    """``table`` with its lone surrogates replaced, and a note of the rows that had some."""
    damaged: dict[int, None] = {}

    def clean(value: Any, row: int) -> Any:
        if isinstance(value, str):
            text = replace_surrogates(value)
            if text != value:
                damaged[row] = None
            return text
        if isinstance(value, dict):
            return {clean(key, row): clean(item, row) for key, item in value.items()}
        return [clean(item, row) for item in value] if isinstance(value, list) else value

    def clean_cell(value: Any, row: int) -> Any:
        try:
            return clean(value, row)
        except RecursionError as error:
            raise DataError(
                f"{table.where(row)}: a value is nested too deep", hint="remove this column"
            ) from error

    columns = {
        name: [clean_cell(value, row) for row, value in enumerate(values)]
        for name, values in table.columns.items()
    }
    if not damaged:
        return table
    first = table.where(min(damaged))
    note = f"{first}: half of a character is replaced by U+FFFD ({len(damaged)} rows in all)"
    return replace(table, columns=columns, notes=(*table.notes, note))


def _repeated(names: Sequence[str]) -> str | None:
    """A name that occurs more than once."""
    return next((name for index, name in enumerate(names) if name in names[:index]), None)


def require_unique(names: Sequence[str], where: str) -> None:
    """Raise :class:`DataError` if two columns have one of ``names``."""
    if (name := _repeated(names)) is not None:
        raise DataError(
            f"{where}: two columns are named {name!r}", hint="rename or remove one of them"
        )


def _read_csv(path: Path) -> Table:
    """Fields are quoted as in RFC 4180."""
    return _read_delimited(path, **DIALECTS[".csv"])


def _read_tsv(path: Path) -> Table:
    """Fields are not quoted, so a quotation mark is a part of the text. Files of this kind (GLUE)
    have unpaired ones, which would swallow all rows up to the next."""
    table = _read_delimited(path, **DIALECTS[".tsv"])
    rows = {
        row
        for values in table.columns.values()
        for row, value in enumerate(values)
        if '""' in value and QUOTED.fullmatch(value)
    }
    if not rows:
        return table
    note = f"{table.where(min(rows))}: quotation marks are text in TSV files ({len(rows)} rows)"
    return replace(table, notes=(note,))


@contextmanager
def unlimited_fields() -> Iterator[None]:
    """Let the module ``csv`` read fields of any length: long texts are valid."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _read_delimited(path: Path, **dialect: Any) -> Table:
    lines: list[int] = []
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(_decode(path), newline=""), **dialect)
    try:
        with unlimited_fields():
            names = next(reader, [])
            require_unique(names, f"{path}:1")
            start = reader.line_num + 1
            for row in reader:
                if row:
                    _check_width(row, names, f"{path}:{start}", dialect["delimiter"])
                    rows.append(row)
                    lines.append(start)
                start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}:{reader.line_num}: not CSV: {error}",
            hint="look for a missing closing quote",
        ) from error
    return Table(str(path), {name: [row[i] for row in rows] for i, name in enumerate(names)}, lines)


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 text", hint="save the file as UTF-8") from error


def _check_width(row: list[str], names: list[str], where: str, delimiter: str) -> None:
    if len(row) != len(names):
        raise DataError(
            f"{where}: {len(row)} fields where the first line names {len(names)} "
            f"({', '.join(names)})",
            hint='quote texts that contain commas: "so, like this"'
            if delimiter == ","
            else "texts in TSV files contain no tabs or line breaks; name the file *.csv, separate "
            "with commas and quote such texts, or write JSON Lines",
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
    require_unique(table.column_names, str(path))
    return Table(str(path), {name: _values(path, name, table) for name in table.column_names})


def _values(path: Path, name: str, table: Any) -> list[Any]:
    """The values of a column. Parquet has some that Python has not, such as the year 300000."""
    try:
        values: list[Any] = table[name].to_pylist()
    except (ArithmeticError, LookupError, RecursionError, ValueError) as error:
        raise DataError(
            f"{path}: column {name} cannot be read: {error}", hint="remove or convert this column"
        ) from error
    return values


READERS = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
