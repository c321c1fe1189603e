"""Data files of every format, and error messages for invalid ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import (
    Row,
    rows,
    tiny,
    write_csv,
    write_jsonl,
    write_parquet,
    write_splits,
)

from autotune.domain import Columns, Task
from autotune.errors import AutotuneError, DataError, ModelError, UsageError
from autotune.trial.data.datasets import PreparedTask, load_split, prepare_task
from autotune.trial.tables import read_table


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A good data set: every test below spoils one thing."""
    return write_splits(tmp_path)


def refuse(dataset: dict[str, str], **settings: Any) -> AutotuneError:
    with pytest.raises(UsageError) as caught:
        prepare_task(tiny(dataset, **settings))
    assert caught.value.hint
    return caught.value


def decode(prepared: PreparedTask, split: str) -> list[str]:
    """The texts of a prepared split, back from its word examples."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(prepared.model_dir)
    packed = load_split(prepared, split)
    examples = np.split(packed.tokens, packed.offsets[1:-1])
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in examples]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jsonl", write_jsonl),
        ("a.json", write_jsonl),
        ("a.csv", write_csv),
        ("a.parquet", write_parquet),
    ],
)
def test_every_format_gives_the_same_rows(
    tmp_path: Path, files: dict[str, str], name: str, write: Callable[[Path, list[Row]], Path]
) -> None:
    files["train"] = str(write(tmp_path / name, rows()))
    prepared = prepare_task(tiny(files))
    assert decode(prepared, "train") == [row["text"] for row in rows()]
    assert prepared.label_names == ("no", "yes")
    assert load_split(prepared, "train").labels.tolist() == [0, 1] * 12
    assert prepared.sizes == {"train": 24, "validation": 6, "test": 6}


def test_tables_have_the_lines_of_their_rows(tmp_path: Path) -> None:
    csv = tmp_path / "a.csv"
    csv.write_text('\ufefftext,label\n"two\nlines",a\n\nlast,b\n', encoding="utf-8")
    table = read_table(csv)
    assert table.columns == {"text": ["two\nlines", "last"], "label": ["a", "b"]}
    assert [table.where(row) for row in range(2)] == [f"{csv}:2", f"{csv}:5"]
    tsv = tmp_path / "a.tsv"
    tsv.write_text("text\tlabel\none, two\ta\n", encoding="utf-8")
    assert read_table(tsv).columns == {"text": ["one, two"], "label": ["a"]}


def test_line_separators_inside_a_text_do_not_end_lines(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", rows(1))
    path.write_text('{"text": "one\u2028two", "label": "a"}\n', encoding="utf-8")
    assert read_table(path).columns["text"] == ["one\u2028two"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "x", "label": 1}\n{"text": \n', "a.jsonl:2: not a JSON object"),
        ("a.jsonl", b'{"text": "x", "label": 1}\n[1, 2]\n', "a.jsonl:2: a JSON list"),
        ("a.jsonl", b'{"text": "\xff", "label": 1}\n', "a.jsonl:1: not a JSON object"),
        ("a.csv", b"text,label\nx,1\ny,z,1\n", "a.csv:3: 3 fields where the first line names 2"),
        ("a.csv", b'text,label\nx,1\n"y,1\n', "a.csv:3: not CSV"),
        ("a.csv", b"text,label\nx,1\n\xe9,1\n", "a.csv:3: not UTF-8"),
        ("a.parquet", b"not parquet at all", "a.parquet: not a Parquet file"),
        ("a.xlsx", b"", "cannot tell the format of a file named *.xlsx"),
        ("a.jsonl", b"", "a.jsonl: no rows"),
        ("a.csv", b"text,label\n", "a.csv: no rows"),
    ],
)
def test_errors_in_files_name_the_line(
    tmp_path: Path, files: dict[str, str], name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert message in str(refuse(files | {"train": str(path)}))


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ({"text": "", "label": "no"}, "train.jsonl:4: text is empty"),
        ({"text": " \n", "label": "no"}, "train.jsonl:4: text is empty"),
        ({"text": None, "label": "no"}, "train.jsonl:4: text is missing"),
        ({"label": "no"}, "train.jsonl:4: text is missing"),
        ({"text": 7, "label": "no"}, "train.jsonl:4: text is not a text: 7"),
        ({"text": "x", "label": None}, "train.jsonl:4: the label is missing"),
        ({"text": "x", "label": ""}, "train.jsonl:4: the label is missing"),
        ({"text": "x", "label": 0.5}, "train.jsonl:4: the label is 0.5"),
        ({"text": "x", "label": ["no"]}, "train.jsonl:4: the label is ['no']"),
    ],
)
def test_errors_in_rows_name_the_line(files: dict[str, str], spoilt: Row, message: str) -> None:
    write_jsonl(Path(files["train"]), [*rows(3), spoilt, *rows(3)])
    assert message in str(refuse(files))


def test_a_missing_file_suggests_the_nearest_name(files: dict[str, str]) -> None:
    error = refuse(files | {"train": files["train"].replace("train", "trian")})
    assert "trian.jsonl: No such file" in str(error)
    assert error.hint is not None and "train.jsonl?" in error.hint


def test_a_missing_column_lists_the_columns_and_suggests_the_nearest(files: dict[str, str]) -> None:
    error = refuse(files, columns=Columns(text="texts"))
    assert "no column 'texts'; it has text, label" in str(error)
    assert error.hint == "task.columns.text: text"


def test_a_single_label_is_an_error(files: dict[str, str]) -> None:
    write_jsonl(Path(files["train"]), rows(labels=("yes",)))
    assert "only one label, 'yes'" in str(refuse(files))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_labels_that_do_not_occur_in_train_are_errors(files: dict[str, str], split: str) -> None:
    write_jsonl(Path(files[split]), rows(6, labels=("yes", "maybe")))
    error = refuse(files)
    assert f"{split}.jsonl:2: label 'maybe' does not occur in train" in str(error)
    assert error.hint == "train has no, yes"


def test_unknown_splits_and_sources_are_errors(files: dict[str, str]) -> None:
    assert "unknown split 'valid'" in str(refuse({"train": files["train"], "valid": "x.csv"}))
    assert "no train split" in str(refuse({"test": files["test"]}))
    for dataset, message in (
        ("builtin:poems", "no builtin:poems"),
        (files["train"], "without the name of its split"),
    ):
        with pytest.raises(DataError, match=message):
            prepare_task(Task(model="builtin:bert-tiny", dataset=dataset))


def test_a_long_text_is_truncated_to_max_length(files: dict[str, str], tmp_path: Path) -> None:
    long = {"text": "house " * 10_000, "label": "no"}
    write_jsonl(Path(files["train"]), [long, *rows()])
    prepared = prepare_task(tiny(files))
    assert load_split(prepared, "train").lengths.max() == 16
    long_csv = write_csv(tmp_path / "long.csv", [{"text": "word " * 100_000, "label": "no"}])
    assert len(read_table(long_csv).columns["text"][0]) == 500_000


def test_max_length_beyond_the_model_is_noted(files: dict[str, str]) -> None:
    prepared = prepare_task(tiny(files, max_length=4096))
    assert prepared.max_length == 512
    assert "max_length is 512, the maximum of the model" in prepared.notes


def test_integer_labels_are_ordered_by_value(files: dict[str, str]) -> None:
    for split in files:
        write_jsonl(Path(files[split]), rows(24, labels=(10, 9, 1.0)))
    prepared = prepare_task(tiny(files))
    assert prepared.label_names == ("1", "9", "10")
    assert load_split(prepared, "train").labels[:3].tolist() == [2, 1, 0]


def test_pairs_keep_their_token_types(files: dict[str, str]) -> None:
    for split in files:
        pairs = [{**row, "other": f"garden {i}"} for i, row in enumerate(rows(12))]
        write_jsonl(Path(files[split]), pairs)
    prepared = prepare_task(tiny(files, columns=Columns(text_pair="other")))
    split = load_split(prepared, "train")
    assert split.types is not None
    first = split.types[: split.offsets[1]]
    assert first[0] == 0 and first[-1] == 1 and (np.diff(first) >= 0).all()
    assert set(split.batch([0, 1], prepared.pad_token_id)) == {
        "input_ids",
        "attention_mask",
        "token_type_ids",
        "labels",
    }


def test_unknown_kinds_and_models(files: dict[str, str], tmp_path: Path) -> None:
    assert "unknown task kind 'translation'" in str(refuse(files, kind="translation"))
    for model, message in (
        ("builtin:gpt", "no builtin:gpt"),
        ("./nowhere", "no directory ./nowhere"),
        (str(tmp_path), "config.json cannot be read"),
    ):
        error = refuse(files, model=model)
        assert isinstance(error, ModelError) and message in str(error)
