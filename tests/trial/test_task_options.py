"""Options of tasks: weights of classes, own losses, names of labels, lengths from the data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from data_files import rows, tiny, write_jsonl
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from autotune.domain.losses import LOSSES, LossFunction
from autotune.errors import DataError, UsageError
from autotune.trial.data.class_weights import class_weights
from autotune.trial.data.datasets import load_split, prepare_task, read_examples
from autotune.trial.loss import build_loss, cross_entropy
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.base import IGNORE_INDEX, class_name

NAMES = ("a", "b", "c")


def test_balanced_weights_are_those_of_sklearn() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    tags = np.append(labels, IGNORE_INDEX)
    assert class_weights("balanced", NAMES, tags) == pytest.approx(list(expected))
    assert class_weights("balanced", (*NAMES, "d"), labels)[3] == 1.0
    assert class_weights({"b": 2.5}, NAMES, labels) == [1.0, 2.5, 1.0]
    with pytest.raises(DataError, match="'bb' is no label") as caught:
        class_weights({"bb": 2.0}, NAMES, labels)
    assert caught.value.hint == "task.class_weights: {b: 2}"


def test_weights_of_classes_are_in_the_loss(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", rows(40, ("no", "no", "no", "yes")))
    prepared = prepare_task(tiny({"train": str(path)}, class_weights="balanced"))
    assert prepared.class_weights is not None
    labels = torch.from_numpy(load_split(prepared, "train").labels)
    logits = torch.randn(len(labels), 2)
    expected = functional.cross_entropy(
        logits, labels, weight=torch.tensor(prepared.class_weights), reduction="sum"
    )
    assert build_loss(prepared)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.fixture
def own_losses() -> Iterator[None]:
    """Losses of a module, and one of a plug-in."""
    module: Any = ModuleType("own_losses")
    module.halved = lambda logits, labels: cross_entropy(logits, labels) / 2
    module.mean = lambda logits, labels: cross_entropy(logits, labels).mean()
    sys.modules["own_losses"] = module
    LOSSES.register(LossFunction("halved", module.halved))
    yield
    LOSSES.unregister("halved")
    del sys.modules["own_losses"]


@pytest.mark.usefixtures("own_losses")
def test_a_loss_of_the_user(tmp_path: Path) -> None:
    dataset = {"train": str(write_jsonl(tmp_path / "train.jsonl", rows(40)))}
    logits, labels = torch.randn(6, 2), torch.tensor([0, 1, 0, 1, 0, IGNORE_INDEX])
    expected = build_loss(prepare_task(tiny(dataset)))(logits, labels) / 2
    for name in ("halved", "own_losses:halved"):
        loss = build_loss(prepare_task(tiny(dataset, loss=name)))
        assert loss(logits, labels).item() == pytest.approx(expected.item())
    mean = build_loss(prepare_task(tiny(dataset, loss="own_losses:mean")))
    with pytest.raises(UsageError, match=r"returns the shape \[\] for labels of \[6\]"):
        mean(logits, labels)
    for name in ("own_losses:nothing", "no_such_module:loss", "unknown"):
        with pytest.raises(UsageError, match=f"task[.]loss: {name} cannot be imported"):
            build_loss(prepare_task(tiny(dataset, loss=name)))


def test_numbers_get_the_names_of_the_task(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", rows(40, (1, 0, -1)))
    prepared = prepare_task(tiny({"train": str(path)}, labels=("bad", "good", "never")))
    assert prepared.label_names == ("bad", "good", "never")
    assert set(load_split(prepared, "train").labels) == {0, 1}
    assert any("rows without a label (-1) are left out" in note for note in prepared.notes)
    with pytest.raises(DataError, match=r"train.jsonl:1: the label is 1; classes are 0 to 0"):
        prepare_task(tiny({"train": str(path)}, labels=("bad",)))


@pytest.mark.parametrize("values", [(0.0, 1.0), ("0.0", "1.0"), (" 0", "+1"), ("bad ", " good")])
def test_names_of_the_task_do_not_change_the_rule_of_labels(
    tmp_path: Path, values: tuple[Any, ...]
) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", rows(45, (*values, values[1])))
    prepared = prepare_task(tiny({"train": str(path)}, labels=("bad", "good")))
    assert prepared.label_names == ("bad", "good")
    bad, good = np.bincount(load_split(prepared, "train").labels)
    assert good > bad > 0


def test_several_labels_in_a_text_get_the_names_of_the_task(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", rows(40, ("0, 1", "noise, clean", "1.0")))
    task = tiny({"train": str(path)}, kind="multi-label", labels=("clean", "noise"))
    assert set(read_examples(task)["train"].labels) == {
        ("clean", "noise"), ("noise", "clean"), ("noise",),
    }  # fmt: skip


def test_numbers_as_names_are_names_first() -> None:
    names = ("2", "1")
    assert [class_name(names, label, "x") for label in ("1", "1.0", " 2", 1, 1.0, "0")] == [
        "1", "1", "2", "1", "1", "2",
    ]  # fmt: skip
    for label in (1.5, "1.5", 2.0, "-1.0", float("nan"), None):
        with pytest.raises(DataError, match=r"the label is .*; classes are 0 to 1"):
            class_name(names, label, "x")


def test_long_texts_are_divided_into_windows(tmp_path: Path) -> None:
    examples = [{"text": f"word {i} " * (4 + i % 20), "label": i % 2} for i in range(60)]
    path = write_jsonl(tmp_path / "train.jsonl", examples)
    prepared = prepare_task(tiny({"train": str(path)}, stride=4))
    split = load_split(prepared, "validation")
    texts = split.extras["row_example"]
    assert len(split) > len(set(texts)) == 6 and split.lengths.max() == 16
    assert any("texts are divided into" in note for note in prepared.notes)
    assert not build_loss(prepared).kind.predicts_classes
    logits = np.zeros((len(split), 2), np.float32)
    for text in set(texts):  # the mean decides: one window is sure, the others slightly wrong
        windows = np.flatnonzero(texts == text)
        label = split.labels[windows[0]]
        logits[windows, 1 - label] = 1.0
        logits[windows[0], label] = 2.0 * len(windows)
    task_type = get_task_type("text-classification")
    assert task_type.scores(split, logits, prepared.label_names)["accuracy"].value == 1.0
    hits = task_type.hits(split, logits)
    assert hits is not None and hits.tolist() == [True] * 6


def test_the_length_follows_from_the_data(tmp_path: Path) -> None:
    examples = [{"text": "word " * (5 + i % 20), "label": i % 2} for i in range(80)]
    path = str(write_jsonl(tmp_path / "train.jsonl", examples))
    dataset = dict.fromkeys(("train", "validation", "test"), path)
    prepared = prepare_task(tiny(dataset, max_length=None))
    assert prepared.max_length == 32  # 24 words and 2 special tokens, in steps of 8
    assert any(note.startswith("max_length is 32, for the lengths") for note in prepared.notes)
    assert load_split(prepared, "train").lengths.max() == 26
