"""Data files as people have them: quotation marks, numbers, gaps, long texts and damaged rows."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from data_files import rows, tiny, write_csv, write_jsonl, write_parquet, write_splits
from pyarrow import parquet

from autotune.domain import Columns
from autotune.errors import DataError
from autotune.trial.data.datasets import prepare_task
from autotune.trial.metrics import RESAMPLES, classification_scores, macro_f1, matthews
from autotune.trial.model_sources import digest_models
from autotune.trial.tables import read_table
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.base import MAX_CHARACTERS, Examples, sort_labels
from autotune.trial.tasks.token_classification import entities


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    return write_splits(tmp_path)


def test_quotation_marks_in_tsv_swallow_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    lines = ["text\tlabel", '"Great film\tpos', "Fine\tpos", 'Awful"\tneg', '"a ""b"""\tneg']
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = read_table(path)
    assert table.columns["text"] == ['"Great film', "Fine", 'Awful"', '"a ""b"""']
    assert [table.where(row) for row in range(4)] == [f"{path}:{line}" for line in (2, 3, 4, 5)]
    assert table.notes == (f"{path}:5: quotation marks are text in TSV files (1 rows)",)


def test_a_tab_within_a_tsv_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text('text\tlabel\n"a\tb"\tpos\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"train.tsv:2: 3 fields") as caught:
        read_table(path)
    assert "contain no tabs" in str(caught.value.hint)


def test_json_files_can_be_one_array(tmp_path: Path, files: dict[str, str]) -> None:
    path = tmp_path / "train.json"
    path.write_text("\ufeff" + json.dumps(rows(), indent=1), encoding="utf-8")
    assert prepare_task(tiny(files | {"train": str(path)})).sizes["train"] == 24
    path.write_text(json.dumps([*rows(2), ["x"]]), encoding="utf-8")
    with pytest.raises(DataError, match=r"train.json row 3: a JSON list, not an object"):
        read_table(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,label,label\nx,1,2\n"),
        ("a.tsv", "text\tlabel\tlabel\nx\t1\t2\n"),
        ("a.jsonl", '{"text": "x", "label": 1, "label": 2}\n'),
    ],
)
def test_a_repeated_column_is_an_error(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=rf"{name}:1: .*'label'"):
        read_table(path)


def test_half_of_a_character_is_replaced_with_a_note(files: dict[str, str]) -> None:
    path = Path(files["train"])
    good = path.read_text(encoding="utf-8")
    path.write_text(good + '{"text": "bad \\ud83d tweet", "label": "no"}\n', encoding="utf-8")
    prepared = prepare_task(tiny(files))
    assert prepared.sizes["train"] == 25
    assert any(f"{path}:25: half of a character" in note for note in prepared.notes)


def test_deep_nesting_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": ' + "[" * 100_000 + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a.jsonl:1: not a JSON object"):
        read_table(path)


def test_integers_and_floats_are_one_label_in_all_formats(
    tmp_path: Path, files: dict[str, str]
) -> None:
    train = write_csv(tmp_path / "train.csv", rows(labels=("0.0", "1.0")))
    validation = write_csv(tmp_path / "val.csv", rows(6, labels=("0", "1")))
    test = write_jsonl(tmp_path / "test.jsonl", rows(6, labels=(0, 1.0)))
    dataset = {"train": str(train), "validation": str(validation), "test": str(test)}
    assert prepare_task(tiny(dataset)).label_names == ("0", "1")


def test_fractions_as_labels_are_refused_with_the_line(
    tmp_path: Path, files: dict[str, str]
) -> None:
    train = write_csv(tmp_path / "train.csv", rows(labels=("3", "2.45")))
    with pytest.raises(DataError, match=r"train.csv:3: the label is the number 2.45") as caught:
        prepare_task(tiny({"train": str(train)}))
    assert "task.kind: regression" in str(caught.value.hint)
    names = write_csv(tmp_path / "names.csv", rows(labels=("3", "2.45", "high")))
    assert prepare_task(tiny({"train": str(names)})).label_names == ("2.45", "3", "high")


@pytest.mark.parametrize("write", [write_jsonl, write_csv])
def test_rows_without_a_label_are_left_out_and_counted(
    tmp_path: Path, files: dict[str, str], write: Any
) -> None:
    suffix = "csv" if write is write_csv else "jsonl"
    examples = [*rows(30, labels=(0, 1, 2)), {"text": "unknown", "label": -1}]
    train = write(tmp_path / f"nli.{suffix}", examples)
    test = write(tmp_path / f"hidden.{suffix}", rows(6, labels=(-1,)))
    prepared = prepare_task(tiny({"train": str(train), "test": str(test)}))
    assert prepared.label_names == ("0", "1", "2") and prepared.sources["test"] != str(test)
    assert "train: 1 rows without a label (-1) are left out" in prepared.notes
    assert "test: no row has a label (all are -1), so the split is not used" in prepared.notes


def test_minus_one_can_be_a_class(tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", rows(40, labels=(-1, 0, 1)))
    prepared = prepare_task(tiny({"train": str(train)}))
    assert prepared.label_names == ("-1", "0", "1")
    assert "train: label -1 is a class here (14 rows)" in prepared.notes


def test_lines_are_right_after_rows_were_left_out(tmp_path: Path) -> None:
    examples = [{"text": "x", "label": -1}, *rows(30, labels=(0, 1, 2)), {"text": "", "label": 0}]
    train = write_jsonl(tmp_path / "train.jsonl", examples)
    with pytest.raises(DataError, match=r"train.jsonl:32: text is empty"):
        prepare_task(tiny({"train": str(train)}))


@pytest.mark.parametrize("odd", ["①", "--1", "9" * 5000, "²"])
def test_labels_that_look_like_numbers_are_text(odd: str) -> None:
    assert sort_labels({odd, "10", "9"}) == tuple(sorted({odd, "10", "9"}))


@pytest.mark.parametrize(
    ("kind", "inputs", "label"),
    [
        ("text-classification", ("house " * 2_000_000,), "a"),
        ("token-classification", ["house"] * 2_000_000, ("a",) * 2_000_000),
        ("token-classification", ["h" * 10_000_000], ("a",)),
    ],
)
def test_a_huge_text_is_cut_before_it_is_tokenized(kind: str, inputs: Any, label: Any) -> None:
    class Tokenizer:
        is_fast = True

        model_input_names = ("input_ids",)

        def __call__(self, texts: Any, **_: Any) -> Any:
            characters = sum(map(len, texts[0]))
            assert 10_000 < characters <= 2 * MAX_CHARACTERS
            return Encoded({"input_ids": [[1, 2, 3]]})

    class Encoded(dict[str, Any]):
        def word_ids(self, row: int) -> list[int | None]:
            return [None, 0, None]

    task_type = get_task_type(kind)
    arrays = task_type.encode(Tokenizer(), Examples([inputs], [label]), {"a": 0}, 16)
    assert arrays["offsets"].tolist() == [0, 3]


def test_truncation_is_told(files: dict[str, str]) -> None:
    long = [{"text": f"house {i} " * 40, "label": ("no", "yes")[i % 2]} for i in range(30)]
    write_jsonl(Path(files["train"]), [*long, *rows(10)])
    notes = prepare_task(tiny(files)).notes
    assert any(note.startswith("75% of train is cut at 16 tokens (95th") for note in notes)
    write_jsonl(Path(files["train"]), rows())
    assert not any("cut at" in note for note in prepare_task(tiny(files)).notes)


def test_the_digest_is_that_of_the_content(tmp_path: Path, files: dict[str, str]) -> None:
    digest = prepare_task(tiny(files)).data_digest
    renamed = Path(files["train"]).rename(tmp_path / "other.jsonl")
    assert prepare_task(tiny(files | {"train": str(renamed)})).data_digest == digest
    write_jsonl(renamed, rows(labels=("yes", "no")))
    assert prepare_task(tiny(files | {"train": str(renamed)})).data_digest != digest


def test_the_digest_of_a_model_is_that_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    weights = folder / "model.safetensors"
    weights.write_bytes(b"x" * 1000)
    (folder / "notes.md").write_text("mine")
    name = str(folder)
    before = digest_models([name, "builtin:bert-tiny", "some/hub-id"])
    assert before.keys() == {name}
    os.utime(weights, (1, 1))
    (folder / "notes.md").write_text("edited")
    assert digest_models([name]) == before
    weights.write_bytes(b"x" * 999 + b"y")
    edited = digest_models([name])
    (folder / "config.json").write_text('{"model_type": "bert", "dropout": 0.5}')
    assert len({before[name], edited[name], digest_models([name])[name]}) == 3


def test_numbers_as_tags_are_refused(tmp_path: Path) -> None:
    tagged = [{"tokens": ["a", "b", str(i)], "tags": [1, 0, 5]} for i in range(30)]
    train = write_jsonl(tmp_path / "train.jsonl", tagged)
    columns = Columns(text="tokens", label="tags")
    with pytest.raises(DataError, match="numbers without names") as caught:
        prepare_task(tiny({"train": str(train)}, kind="token-classification", columns=columns))
    assert "task.labels: [O, B-PER" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("B-a I-a E-a S-b O", [(0, 3, "a"), (3, 4, "b")]),
        ("B-a L-a U-b U-b", [(0, 2, "a"), (2, 3, "b"), (3, 4, "b")]),
        ("B-a M-a E-a B-a", [(0, 3, "a"), (3, 4, "a")]),
        ("B_a I_a O B_b", [(0, 2, "a"), (3, 4, "b")]),
        ("B I O B", [(0, 2, "entity"), (3, 4, "entity")]),
        ("B-a I-a S-bahn", [(0, 2, "a"), (2, 3, "bahn")]),
        ("S M O", [(0, 1, "S"), (1, 2, "M")]),
    ],
)
def test_entities_in_the_schemes_people_use(tags: str, spans: list[Any]) -> None:
    assert list(entities(tags.split())) == spans


def test_scores_of_many_classes_need_little_memory() -> None:
    labels = np.arange(4000) % 1000
    predictions = np.random.default_rng(0).integers(0, 1000, 4000)
    tracemalloc.start()
    classification_scores(labels, predictions)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 2**20


@pytest.mark.parametrize("classes", [2, 7, 30])
def test_intervals_are_those_of_the_whole_matrix(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 300)
    predictions = np.where(rng.random(300) < 0.7, labels, rng.integers(0, classes - 1, 300))
    size = int(max(labels.max(), predictions.max())) + 1
    counts = np.bincount(labels * size + predictions, minlength=size * size)
    draws = np.random.default_rng(0).multinomial(300, counts / 300, size=RESAMPLES)
    scores = classification_scores(labels, predictions)
    for name, statistic in (("f1", macro_f1), ("mcc", matthews)):
        low, high = np.percentile(statistic(draws.reshape(-1, size, size)), [2.5, 97.5])
        assert scores[name].ci95 == (low, high)
        assert scores[name].value == statistic(counts.reshape(1, size, size))[0]


def test_half_of_a_character_is_replaced_within_answers(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"answers": {"text": ["a \\ud83d"], "answer_start": [0]}}\n', encoding="utf-8")
    table = read_table(path)
    assert table.columns["answers"] == [{"text": ["a \ufffd"], "answer_start": [0]}]
    assert len(table.notes) == 1


def test_a_value_that_is_nested_too_deep_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for depth in range(100, 1000, 100):  # the parser and what follows have limits of their own
        deep = f'{{"text": "x", "more": {"[" * depth}{"]" * depth}}}\n'
        path.write_text('{"text": "x"}\n' + deep, encoding="utf-8")
        try:
            assert len(read_table(path)) == 2
        except DataError as error:
            assert depth > 100 and str(path) + ":2: " in error.message


@pytest.mark.parametrize("suffix", ["gz", "zip", "ZST"])
def test_compressed_files_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"train.csv.{suffix}"
    path.write_bytes(b"x")
    with pytest.raises(DataError, match="compressed files are not read") as caught:
        read_table(path)
    assert "decompress" in str(caught.value.hint)


def test_values_of_parquet_that_python_has_not_are_named(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    years = pyarrow.array([10**15], pyarrow.timestamp("ms"))
    damaged = pyarrow.Array.from_buffers(
        pyarrow.string(), 1, pyarrow.array([b"\xff"], pyarrow.binary()).buffers()
    )
    for name, column in (("at", years), ("note", damaged)):
        parquet.write_table(pyarrow.table({"text": ["x"], name: column}), path)
        with pytest.raises(DataError, match=f"column {name} cannot be read"):
            read_table(path)


@pytest.mark.parametrize("write", [write_jsonl, write_parquet])
def test_fractions_as_labels_are_refused_in_all_formats(tmp_path: Path, write: Any) -> None:
    suffix = write.__name__.removeprefix("write_")
    path = write(tmp_path / f"train.{suffix}", rows(labels=(3.0, 2.45)))
    with pytest.raises(DataError, match=r"the label is the number 2\.45") as caught:
        prepare_task(tiny({"train": str(path)}))
    assert "task.kind: regression" in str(caught.value.hint)
