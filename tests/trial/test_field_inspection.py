"""``validate`` opens the data: quickly, and with hints that can be followed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autotune.domain import Columns, Task
from autotune.errors import DataError
from autotune.trial.data import inspection
from autotune.trial.data.inspection import inspect_data
from autotune.trial.tables import Table
from autotune.trial.tasks.base import get_column

TEXTS = [f"text number {n}" for n in range(18)]
ROWS = [{"text": f"a longer text number {n}", "label": ("pos", "neg")[n % 2]} for n in range(20)]


def task(
    path: Path, rows: list[dict[str, Any]] = ROWS, suffix: str = "jsonl", **fields: Any
) -> Task:
    file = path / f"train.{suffix}"
    if suffix == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == "csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        file.write_text("\n".join(lines) + "\n")
    else:
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(rows), file)
    return Task(**{"model": "m", "dataset": {"train": str(file)}, **fields})


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_sizes_labels_and_caps_are_said(tmp_path: Path, suffix: str) -> None:
    facts = inspect_data(task(tmp_path, suffix=suffix, train_samples=5))
    assert (facts.sizes, facts.labels) == ({"train": 20}, ("neg", "pos"))
    assert facts.describe() == "20 train examples, 2 labels (neg, pos)"
    assert facts.notes == ("task.train_samples: only 5 of 20 train examples are used",)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("is_large", [False, True])
def test_a_wrong_column_is_refused(
    tmp_path: Path, suffix: str, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "MAX_BYTES", 0 if is_large else 10**6)
    assert bool(inspect_data(task(tmp_path, suffix=suffix)).sizes) is not is_large
    wrong = task(tmp_path, suffix=suffix, columns=Columns("title", None, "label"))
    with pytest.raises(DataError, match="no column 'title'; it has text, label") as caught:
        inspect_data(wrong)
    assert caught.value.hint == "task.columns.text: text"


def test_missing_files_and_empty_texts_are_refused(tmp_path: Path) -> None:
    missing = task(tmp_path, dataset={"train": str(tmp_path / "trian.jsonl")})
    with pytest.raises(DataError) as caught:
        inspect_data(missing)
    assert caught.value.hint is not None and "did you mean" in caught.value.hint
    with pytest.raises(DataError, match=r"train.jsonl:2: text is empty"):
        inspect_data(task(tmp_path, [ROWS[0], {"text": "", "label": "pos"}]))


def test_data_elsewhere_is_left_to_the_search() -> None:
    assert inspect_data(Task(model="m", dataset="builtin:docstrings")).notes == ()
    assert "hub" in inspect_data(Task(model="m", dataset="glue/sst2")).notes[0]
    with pytest.raises(DataError, match="builtin:nothing"):
        inspect_data(Task(model="m", dataset="builtin:nothing"))


@pytest.mark.parametrize(
    ("columns", "name", "key", "proposed"),
    [
        ({"label": ["a", "b"] * 9, "review": TEXTS}, "title", "text", "review"),
        ({"labels": [0, 1] * 9, "id": [*range(18)]}, "title", "text", "NAME"),
        ({"gold": ["x", "y"] * 9, "body": TEXTS}, "gld", "text", "body"),
        ({"id": [*range(18)], "body": TEXTS, "gold": ["x", "y"] * 9}, "bdy", "label", "gold"),
        ({"sentence": ["s"], "target": ["t"]}, "label", "label", "target"),
        ({"ner_tags": [[0, 1], [0, 0]], "tokens": [["a", "b"], ["c", "d"]]}, "x", "text", "tokens"),
    ],
)  # fmt: skip
def test_hints_never_propose_labels_as_text(
    columns: dict[str, list[Any]], name: str, key: str, proposed: str
) -> None:
    with pytest.raises(DataError) as caught:
        get_column(Table("file", columns), name, key)
    assert caught.value.hint == f"task.columns.{key}: {proposed}"


def test_no_framework_is_loaded() -> None:
    code = (
        "import sys, autotune.trial.data.inspection; "
        "print(sorted({'torch', 'transformers', 'datasets', 'pandas'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps(ROWS, indent=1)),
        ("a.json", json.dumps(ROWS)),
        ("a.jsonl", "\n" + json.dumps(ROWS[0]) + "\n"),
        ("a.tsv", 'text\tlabel\n"Great film\tpos\nAwful"\tneg\n'),
        ("a.csv", f'text,label\n"{"long " * 60_000}",pos\n'),
    ],
)
def test_the_first_row_of_a_large_file_is_read_as_the_search_reads_it(
    tmp_path: Path, name: str, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    monkeypatch.setattr(inspection, "MAX_BYTES", 1000)
    large = Task(model="m", dataset={"train": str(path)})
    if path.stat().st_size <= 1000:
        monkeypatch.setattr(inspection, "MAX_BYTES", 0)
    assert "is large" in inspect_data(large).notes[0]


def test_repeated_columns_of_a_large_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label,label\nx,1,2\n", encoding="utf-8")
    monkeypatch.setattr(inspection, "MAX_BYTES", 0)
    with pytest.raises(DataError, match="two columns are named 'label'"):
        inspect_data(Task(model="m", dataset={"train": str(path)}))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["text,label"], "no rows"),
        (["text,label", "a,x", "b,x", "c,x"], "only one label"),
        (["text,label", "a,x", "b,y"], "too few rows in train"),
    ],
)
def test_what_the_search_refuses_is_not_valid(
    tmp_path: Path, rows: list[str], message: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        inspect_data(Task(model="m", dataset={"train": str(path)}))
