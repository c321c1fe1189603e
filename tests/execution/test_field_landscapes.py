"""Damaged landscapes are an error that names the file, never an exception of a library."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from autotune.errors import DataError
from autotune.execution.replay.benchmark import HEADER, read, write
from tests.execution.synthetic_benchmark import synthetic_benchmark

DEEP = "[" * 100_000


@pytest.fixture(scope="module")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("landscape") / "good.parquet"
    write(synthetic_benchmark(), path)
    return path


def damaged(path: Path, tmp_path: Path, change: Callable[[Any], Any]) -> Path:
    """The landscape with another header; ``change`` returns it, or its text."""
    table = parquet.read_table(path)
    header = change(json.loads(table.schema.metadata[HEADER]))
    text = header if isinstance(header, str) else json.dumps(header)
    copy = tmp_path / "damaged.parquet"
    parquet.write_table(table.replace_schema_metadata({HEADER: text.encode()}), copy)
    return copy


HEADERS: list[Callable[[Any], Any]] = [
    lambda h: DEEP,
    lambda h: "{",
    lambda h: [],
    lambda h: None,
    lambda h: {"format": h["format"]},
    lambda h: {**h, "environment": []},
    lambda h: {**h, "environment": {"hardware": {"cpu": 3}}},
    lambda h: {**h, "workload": {"nothing": 1}},
    lambda h: {**h, "workload": [1]},
]


@pytest.mark.parametrize("change", HEADERS)
def test_a_damaged_header(landscape: Path, tmp_path: Path, change: Callable[[Any], Any]) -> None:
    with pytest.raises(DataError, match=r"damaged\.parquet") as caught:
        read(damaged(landscape, tmp_path, change))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("column", "value"),
    [("strategy", DEEP), ("strategy", "[]"), ("strategy", "3"), ("state", "unknown"),
     ("seconds", float("inf")), ("seconds", -1.0), ("strategy", None)],
)  # fmt: skip
def test_a_damaged_row(landscape: Path, tmp_path: Path, column: str, value: Any) -> None:
    table = parquet.read_table(landscape)
    index = table.column_names.index(column)
    cells = [value, *table[column].to_pylist()[1:]]
    copy = tmp_path / "damaged.parquet"
    parquet.write_table(table.set_column(index, column, pa.array(cells)), copy)
    with pytest.raises(DataError, match=r"damaged\.parquet"):
        read(copy)


def test_missing_columns_and_rows(landscape: Path, tmp_path: Path) -> None:
    table, copy = parquet.read_table(landscape), tmp_path / "damaged.parquet"
    for part in (table.slice(0, 0), *(table.drop_columns([name]) for name in ("seed", "curve"))):
        parquet.write_table(part, copy)
        with pytest.raises(DataError, match=r"damaged\.parquet"):
            read(copy)
    copy.write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="Parquet"):
        read(copy)
    assert read(landscape).records
