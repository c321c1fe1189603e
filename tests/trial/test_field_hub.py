"""Data sets of the hub: splits under other names, scripts, tags not in train, missing labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
from data_files import tiny

from autotune.domain import Columns
from autotune.errors import DataError, ModelError
from autotune.spec.task_section import TaskSpec
from autotune.trial.data.datasets import load_split, prepare_task
from autotune.trial.model_sources import find_model

TEXT = Columns(text="sentence")


def split(labels: list[int], names: tuple[str, ...] = ("bad", "good")) -> Any:
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=list(names))}
    )
    sentences = [f"sentence {i}" for i in range(len(labels))]
    return datasets.Dataset.from_dict({"sentence": sentences, "label": labels}, features=features)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The data sets of a hub by name: splits, or an error to raise."""
    known: dict[str, Any] = {}

    def load_dataset(*name: str) -> Any:
        content = known.get("/".join(name))
        if content is None:
            raise datasets.exceptions.DatasetNotFoundError("no such data set")
        if isinstance(content, Exception):
            raise content
        return datasets.DatasetDict(content)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return known


@pytest.mark.parametrize("name", ["dev", "eval", "valid", "validation_matched"])
def test_usual_names_of_splits_are_found(hub: dict[str, Any], name: str) -> None:
    hub["set"] = {"train": split([0, 1] * 20), name: split([0, 1, 1])}
    prepared = prepare_task(tiny("set", columns=TEXT))
    assert prepared.sizes["validation"] == 3
    assert any(note.startswith(f"validation: the split {name} of set") for note in prepared.notes)


def test_the_study_file_names_splits(hub: dict[str, Any]) -> None:
    hub["glue/mnli"] = {
        "train": split([0, 1] * 20),
        "validation_matched": split([0, 1, 1]),
        "validation_mismatched": split([0, 1, 1, 1, 0]),
    }
    dataset = {"hub": "glue/mnli", "validation": "validation_mismatched"}
    prepared = prepare_task(tiny(dataset, columns=TEXT))
    assert prepared.sizes["validation"] == 5
    assert prepared.sources["validation"] == "glue/mnli (validation_mismatched) from the hub"
    with pytest.raises(DataError, match="no split 'validation_mismached', only train, ") as caught:
        prepare_task(tiny({**dataset, "validation": "validation_mismached"}, columns=TEXT))
    assert "hub: glue/mnli, validation: validation_mi" in str(caught.value.hint)
    spec = TaskSpec.model_validate({"dataset": dataset})
    assert not isinstance(spec.dataset, str)
    assert spec.dataset.model_dump(exclude_none=True) == dataset


def test_a_set_without_train_names_its_splits(hub: dict[str, Any]) -> None:
    hub["set"] = {"all": split([0, 1] * 20)}
    with pytest.raises(DataError, match="has no split train, only all") as caught:
        prepare_task(tiny("set", columns=TEXT))
    assert "{hub: set, train: all}" in str(caught.value.hint)
    assert prepare_task(tiny({"hub": "set", "train": "all"}, columns=TEXT)).sizes["train"] > 20


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Dataset scripts are no longer supported, but found old.py"),
        ValueError("The repository contains custom code: pass trust_remote_code=True"),
    ],
)
def test_a_script_says_what_to_do(hub: dict[str, Any], error: Exception) -> None:
    hub["owner/old"] = error
    with pytest.raises(DataError, match="cannot load owner/old from the hub") as caught:
        prepare_task(tiny("owner/old", columns=TEXT))
    assert 'load_dataset("owner/old", revision="refs/convert/parquet")' in str(caught.value.hint)


def test_rows_without_a_label_are_left_out(hub: dict[str, Any]) -> None:
    hub["snli"] = {"train": split([0, 1, -1] * 20), "validation": split([0, 1, -1])}
    prepared = prepare_task(tiny("snli", columns=TEXT))
    assert prepared.sizes["validation"] == 2 and prepared.label_names == ("bad", "good")
    assert "train: 20 rows without a label (-1) are left out" in prepared.notes


def test_a_column_without_any_text_is_an_error(hub: dict[str, Any]) -> None:
    columns = {"sentence": ["", " ", ""], "label": [0, 1, 0]}
    hub["set"] = {"train": datasets.Dataset.from_dict(columns)}
    with pytest.raises(DataError, match="set train row 1: sentence is empty"):
        prepare_task(tiny("set", columns=TEXT))


def test_declared_names_are_accepted_where_train_lacks_them(
    hub: dict[str, Any], tmp_path: Path
) -> None:
    names = ("bad", "good", "rare")
    hub["set"] = {"train": split([0, 1] * 20, names), "validation": split([0, 1, 2], names)}
    prepared = prepare_task(tiny("set", columns=TEXT))
    assert prepared.label_names == names
    assert load_split(prepared, "validation").labels.tolist() == [0, 1, 2]


class RefusedByProxy(Exception):
    """Like the errors of the hub's client, which are of no common type."""


def test_any_error_of_the_hub_says_what_to_do(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub["set"] = RefusedByProxy()
    with pytest.raises(DataError, match="cannot load set from the hub: RefusedByProxy") as caught:
        prepare_task(tiny("set", columns=TEXT))
    assert "network" in str(caught.value.hint)

    def refuse(name: str, *, local_files_only: bool, **_: Any) -> str:
        raise OSError if local_files_only else RefusedByProxy("\n403 Forbidden\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelError, match="from the hub: 403 Forbidden"):
        find_model("owner/model", 0)
