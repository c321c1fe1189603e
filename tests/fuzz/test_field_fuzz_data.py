"""Mutated data files are read, or are an error with the file and the line, never a crash."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from autotune.domain import Columns, Task
from autotune.trial.data.datasets import read_examples
from autotune.trial.data.inspection import inspect_data
from tests.fuzz.mutations import (
    Problems,
    change_bytes,
    change_document,
    change_lines,
    count,
    generators,
    problem_of,
)

FILES = {"csv": 4750, "tsv": 4750, "jsonl": 4750, "json": 4750, "parquet": 1000}
"""Mutated files of each format: 20,000 in all. One in Parquet takes ten times as long."""

TEXTS = ("a tall house", 'so, "quoted"', "été \U0001f600", "two\tcolumns", "1", "-0", "x" * 300)
CLASSES = [{"text": TEXTS[n % 7] + str(n), "label": ("no", "yes")[n % 2]} for n in range(10)]
NUMBERS = [{"text": f"word {n}", "label": n % 3} for n in range(10)]
PAIRS = [{"a": f"word {n}", "b": f"other {n}", "label": n % 2 == 0} for n in range(10)]
TAGS = [{"tokens": ["Ada", "sees", f"Rome{n}"], "tags": ["B-PER", "O", "B-LOC"]} for n in range(10)]

Rows = Sequence[Mapping[str, Any]]
TASKS: Mapping[str, tuple[Rows, Mapping[str, Any]]] = {
    "classes": (CLASSES, {}),
    "numbers": (NUMBERS, {}),
    "pairs": (PAIRS, {"columns": Columns("a", "b", "label")}),
    "tags": (TAGS, {"kind": "token-classification", "columns": Columns("tokens", None, "tags")}),
}


def _delimited(separator: str) -> Callable[[Rows], bytes]:
    def write(rows: Rows) -> bytes:
        lines = [separator.join(rows[0])]
        lines += [
            separator.join(str(value).replace(separator, " ") for value in row.values())
            for row in rows
        ]
        return ("\n".join(lines) + "\n").encode()

    return write


def _parquet(rows: Rows) -> bytes:
    buffer = io.BytesIO()
    try:
        parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    except (pyarrow.ArrowException, OverflowError, UnicodeError):  # Parquet has no such values
        parquet.write_table(pyarrow.Table.from_pylist([dict.fromkeys(row) for row in rows]), buffer)
    return buffer.getvalue()


WRITERS: Mapping[str, Callable[[Rows], bytes]] = {
    "csv": _delimited(","),
    "tsv": _delimited("\t"),
    "jsonl": lambda rows: "".join(json.dumps(row) + "\n" for row in rows).encode(),
    "json": lambda rows: json.dumps(rows).encode(),
    "parquet": _parquet,
}


def mutate(rows: Rows, suffix: str, rng: random.Random) -> bytes:
    write = WRITERS[suffix]
    if suffix not in ("csv", "tsv") and rng.random() < 0.6:
        changed = [change_document(row, rng) if rng.random() < 0.3 else row for row in rows]
        return write(changed)
    data = write(rows)
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = (change_bytes if suffix == "parquet" else rng.choice((change_bytes, change_lines)))(
            data, rng
        )
    return data


@pytest.mark.parametrize("suffix", WRITERS)
def test_mutated_data_files(suffix: str, tmp_path: Path) -> None:
    path, problems = tmp_path / f"train.{suffix}", Problems()
    kinds = list(TASKS.values()) if suffix not in ("csv", "tsv") else list(TASKS.values())[:3]
    for rng in generators(count(FILES[suffix])):
        rows, fields = rng.choice(kinds)
        data = mutate(rows, suffix, rng)
        path.write_bytes(data)
        task = Task(**{"model": "m", "dataset": {"train": str(path)}, **fields})
        for read in (inspect_data, read_examples):
            problems.add(problem_of(lambda read=read, task=task: read(task), names="train"), data)
    assert not problems.first
