"""Small data sets in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from autotune.domain import Task

Row = dict[str, Any]


def rows(n: int = 24, labels: tuple[Any, ...] = ("no", "yes")) -> list[Row]:
    """``n`` different texts, with the labels in turn."""
    words = ("tall", "small", "green", "warm", "loud")
    return [
        {"text": f"the {words[i % 5]} house number {i}", "label": labels[i % len(labels)]}
        for i in range(n)
    ]


def write_jsonl(path: Path, examples: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in examples), encoding="utf-8")
    return path


def write_csv(path: Path, examples: list[Row]) -> Path:
    lines = [",".join(examples[0]), *(f'"{row["text"]}",{row["label"]}' for row in examples)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_parquet(path: Path, examples: list[Row]) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(examples), path)
    return path


def write_splits(folder: Path) -> dict[str, str]:
    """A good data set with all three splits, as ``task.dataset`` names it."""
    sizes = {"train": 24, "validation": 6, "test": 6}
    return {s: str(write_jsonl(folder / f"{s}.jsonl", rows(n))) for s, n in sizes.items()}


def tiny(dataset: Any, **settings: Any) -> Task:
    """A task that fine-tunes ``builtin:bert-tiny`` on ``dataset``."""
    return Task(**{"model": "builtin:bert-tiny", "dataset": dataset, "max_length": 16, **settings})
