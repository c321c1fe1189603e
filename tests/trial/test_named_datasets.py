"""Data sets of the hub by name, against fakes of their layout there."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest
from data_files import tiny, write_jsonl
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from autotune.domain.datasets import NAMED_DATASETS
from autotune.domain.tasks import TASK_KINDS
from autotune.trial.data.datasets import PreparedTask, prepare_task

TEXT = Value("string")
NLI = ClassLabel(names=["entailment", "neutral", "contradiction"])
TAGS = ClassLabel(names=["O", "B-PER", "I-PER"])
EMOTIONS = ClassLabel(names=["joy", "anger", "neutral"])


def split(features: Mapping[str, Any], rows: list[tuple[Any, ...]]) -> Dataset:
    columns = {name: [row[i] for row in rows] for i, name in enumerate(features)}
    return Dataset.from_dict(columns, features=Features(dict(features)))


def mnli(count: int, label: int | None = None) -> Dataset:
    rows = [(f"premise {i}", f"a claim {i}", i % 3 if label is None else label, i)
            for i in range(count)]  # fmt: skip
    return split({"premise": TEXT, "hypothesis": TEXT, "label": NLI, "idx": Value("int32")}, rows)


def stsb(count: int, label: float | None = None) -> Dataset:
    features = {"sentence1": TEXT, "sentence2": TEXT, "label": Value("float32")}
    rows = [(f"one {i}", f"two {i}", i % 11 / 2 if label is None else label) for i in range(count)]
    return split(features, rows)


def qqp(count: int, label: int | None = None) -> Dataset:
    """The last row has no second text."""
    features = {"question1": TEXT, "question2": TEXT, "label": ClassLabel(names=["no", "yes"])}
    rows = [(f"how {i}", f"why {i}", i % 2 if label is None else label) for i in range(count)]
    return split(features, [*rows, ("how", "", 0 if label is None else label)])


def conll(count: int) -> Dataset:
    """The last row has no words."""
    features = {"id": TEXT, "tokens": List(TEXT), "ner_tags": List(TAGS)}
    rows = [(str(i), ["Ada", "Byron", f"w{i}"], [1, 2, 0]) for i in range(count)]
    return split(features, [*rows, (str(count), [], [])])


def squad(count: int) -> Dataset:
    answers = {"text": List(TEXT), "answer_start": List(Value("int32"))}
    features = {"id": TEXT, "context": TEXT, "question": TEXT, "answers": answers}
    rows = [
        (str(i), f"it was in Rome {i}", f"where {i}",
         {"text": ["Rome"] * (i % 4 > 0), "answer_start": [10] * (i % 4 > 0)})
        for i in range(count)
    ]  # fmt: skip
    return split(features, rows)


def emotions(count: int) -> Dataset:
    features = {"text": TEXT, "labels": List(EMOTIONS)}
    return split(features, [(f"text {i}", [0, 2] if i % 2 else [1]) for i in range(count)])


HUB = {
    ("nyu-mll/glue", "mnli"): {
        "train": mnli(60), "validation_matched": mnli(6), "validation_mismatched": mnli(9),
        "test_matched": mnli(6, -1), "test_mismatched": mnli(6, -1),
    },
    ("nyu-mll/glue", "qqp"): {"train": qqp(60), "validation": qqp(10), "test": qqp(6, -1)},
    ("nyu-mll/glue", "stsb"): {"train": stsb(60), "validation": stsb(11), "test": stsb(5, -1.0)},
    ("lhoestq/conll2003",): {"train": conll(30), "validation": conll(5), "test": conll(4)},
    ("rajpurkar/squad_v2",): {"train": squad(40), "validation": squad(8)},
    ("google-research-datasets/go_emotions",): {
        "train": emotions(40), "validation": emotions(6), "test": emotions(6),
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*arguments: str) -> DatasetDict:
        return DatasetDict(HUB[arguments])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def prepare(name: str) -> PreparedTask:
    named = NAMED_DATASETS[name]
    return prepare_task(tiny(name, kind=named.kind, columns=named.columns))


@pytest.mark.parametrize(
    ("name", "sizes", "labels"),
    [
        ("glue/mnli", (54, 6, 6), ("entailment", "neutral", "contradiction")),
        ("glue/qqp", (54, 10, 6), ("no", "yes")),
        ("glue/stsb", (54, 11, 6), ("LABEL_0",)),
        ("conll2003", (30, 5, 4), ("O", "B-PER", "I-PER")),
        ("squad_v2", (35, 8, 5), ("LABEL_0", "LABEL_1")),
        ("go_emotions", (40, 6, 6), ("joy", "anger", "neutral")),
    ],
)
def test_a_name_is_enough(name: str, sizes: tuple[int, ...], labels: tuple[str, ...]) -> None:
    prepared = prepare(name)
    assert tuple(prepared.sizes.values()) == sizes
    assert prepared.label_names == labels
    assert not any("choose another" in note for note in prepared.notes)


@pytest.mark.parametrize("name", ["glue/qqp", "conll2003"])
def test_rows_without_a_text_are_left_out_with_a_note(name: str) -> None:
    notes = prepare(name).notes
    assert "train: 1 rows without a text are left out" in notes
    assert "validation: 1 rows without a text are left out" in notes


def test_every_name_has_a_kind_with_its_columns() -> None:
    for name, named in NAMED_DATASETS.items():
        kind = TASK_KINDS[named.kind]
        assert named.columns.text_pair is None or kind.has_text_pair, name
        assert bool(named.hub) != name.startswith("builtin:")


@pytest.mark.parametrize(("name", "score"), [("cola", "mcc"), ("qqp", "f1"), ("sst2", "accuracy")])
def test_the_benchmark_requires_the_score_of_a_task(tmp_path: Path, name: str, score: str) -> None:
    from benchmarks.glue import read_tasks, study_file

    (tmp_path / name).mkdir()
    write_jsonl(tmp_path / name / "train.jsonl", [{"text": "a", "label": 1}])
    options = Namespace(
        data=tmp_path, model="builtin:minilm", max_length=64, examples=None, seeds=3, minutes=1.0,
        trials=9,
    )  # fmt: skip
    (task,) = read_tasks(tmp_path, [])
    assert study_file(task, options)["goal"]["require"] == [f"{score} >= baseline - 0.01"]
