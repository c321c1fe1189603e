"""Rows of ``builtin:docstrings``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_files import tiny

from autotune.errors import DataError
from autotune.trial.data import docstrings
from autotune.trial.data.datasets import load_split, prepare_task

SMALL = {"train": 12, "validation": 4, "test": 4}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a small build."""
    folder = tmp_path_factory.mktemp("docstrings")
    docstrings.write_splits(folder, SMALL)
    return folder


def read(folder: Path, split: str) -> list[dict[str, str]]:
    lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_library_has_its_share(small: Path) -> None:
    for split, size in SMALL.items():
        labels = [row["label"] for row in read(small, split)]
        assert {label: labels.count(label) for label in labels} == dict.fromkeys(
            docstrings.LIBRARIES, size
        )


def test_no_file_and_no_text_is_in_two_splits(small: Path) -> None:
    splits = [read(small, split) for split in SMALL]
    sources = [{row["source"] for row in rows} for rows in splits]
    assert sum(map(len, sources)) == len(set().union(*sources))
    texts = [row["text"] for rows in splits for row in rows]
    assert len(texts) == len(set(texts))


def test_no_text_names_its_library(small: Path) -> None:
    for split in SMALL:
        for row in read(small, split):
            lowered = row["text"].lower()
            assert not any(name in lowered.split() for name in docstrings.LIBRARIES), row
            assert f"{row['label']}." not in lowered


def test_the_same_packages_give_the_same_files(small: Path, tmp_path: Path) -> None:
    docstrings.write_splits(tmp_path, SMALL)
    for split in SMALL:
        assert read(tmp_path, split) == read(small, split)


def test_masking() -> None:
    text = "Use :class:`~torch.nn.Module` and\n``optuna.create_study``; **PyTorch** or `st.write`."
    assert docstrings.mask(text) == (
        "Use library.nn.Module and library.create_study; library or library.write."
    )
    assert docstrings.mask("a transformer, the best first.") == "a transformer, the best first."


def test_a_missing_library_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "LIBRARIES", ("torch", "no-such-library"))
    with pytest.raises(DataError, match="no-such-library is not installed"):
        docstrings.package_versions()


def test_the_data_set_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first build, neither another task nor the same one reads the packages again."""
    write = docstrings.write_splits
    monkeypatch.setattr(docstrings, "write_splits", lambda folder: write(folder, SMALL))
    first = prepare_task(tiny("builtin:docstrings"))
    assert first.label_names == docstrings.LIBRARIES
    assert first.sizes == {split: 5 * size for split, size in SMALL.items()}
    monkeypatch.setattr(docstrings, "write_splits", pytest.fail)
    assert prepare_task(tiny("builtin:docstrings")) == first
    shorter = prepare_task(tiny("builtin:docstrings", max_length=8))
    assert load_split(shorter, "train").lengths.max() == 8
