"""Splits are held out, limited, cached, and loaded again."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from data_files import rows, tiny, write_jsonl, write_splits

from autotune.domain import Columns
from autotune.errors import DataError
from autotune.trial.data import cache
from autotune.trial.data.datasets import load_split, prepare_task
from autotune.trial.data.sampling import holdout_rows, stratified_subsample

LOADED = """
import sys
from autotune.domain import Task
from autotune.trial.data.datasets import load_split, prepare_task
prepared = prepare_task(Task(model="builtin:bert-tiny", dataset={dataset!r}, max_length=16))
load_split(prepared, "train")
heavy = {{"torch", "transformers", "datasets", "tokenizers", "pyarrow", "sklearn"}}
print(sorted(heavy & set(sys.modules)))
"""


def test_held_out_rows_are_stratified_and_disjoint() -> None:
    strata = ["a"] * 100 + ["b"] * 30 + ["c"] * 6 + ["d"]
    rows_by_split = holdout_rows(strata, list(range(137)), ["validation", "test"], seed=3)
    counts = {
        split: Counter(strata[i] for i in indices) for split, indices in rows_by_split.items()
    }
    assert counts["validation"] == counts["test"] == {"a": 10, "b": 3, "c": 2}
    assert counts["train"]["d"] == 1
    assert sorted(i for indices in rows_by_split.values() for i in indices) == list(range(137))
    assert rows_by_split == holdout_rows(strata, list(range(137)), ["validation", "test"], seed=3)
    assert rows_by_split != holdout_rows(strata, list(range(137)), ["validation", "test"], seed=4)


def test_a_repeated_text_is_never_held_out() -> None:
    texts = ["same"] * 30 + [f"text {i}" for i in range(30)]
    held_out = holdout_rows(["a"] * 60, texts, ["validation"], seed=0)
    assert len(held_out["validation"]) >= 2
    assert all(texts[i] != "same" for i in held_out["validation"])


def test_train_is_too_small_to_hold_out_a_split() -> None:
    with pytest.raises(DataError, match="no validation split and too few rows in train"):
        holdout_rows(["a", "b"], ["one", "two"], ["validation"], seed=0)


def test_limits_keep_proportions_and_every_label() -> None:
    strata = ["a"] * 80 + ["b"] * 19 + ["c"]
    assert Counter(strata[i] for i in stratified_subsample(strata, 20, seed=0)) == {
        "a": 16,
        "b": 3,
        "c": 1,
    }
    assert stratified_subsample(strata, 500, seed=0) == list(range(100))
    with pytest.raises(DataError, match="2 samples are fewer than the 3 labels"):
        stratified_subsample(strata, 2, seed=0)


def test_missing_splits_are_held_out_from_train_and_noted(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "only.jsonl", rows(60))
    prepared = prepare_task(tiny({"train": str(path)}, train_samples=20, validation_samples=4))
    assert prepared.sizes == {"train": 20, "validation": 4, "test": 6}
    assert prepared.sources["test"] == "held out from train"
    assert prepared.notes == (
        "validation: 6 rows held out from train",
        "test: 6 rows held out from train",
        "train: 20 of 48 rows",
        "validation: 4 of 6 rows",
    )
    assert np.bincount(load_split(prepared, "train").labels).tolist() == [10, 10]


def test_batches_contain_the_rows_and_padding(tmp_path: Path) -> None:
    prepared = prepare_task(tiny(write_splits(tmp_path)))
    split = load_split(prepared, "train")
    batch = split.batch(np.array([3, 1]), prepared.pad_token_id, length=16)
    assert batch["input_ids"].shape == (2, 16) and batch["labels"].tolist() == [1, 1]
    for row, ids, mask in zip([3, 1], batch["input_ids"], batch["attention_mask"], strict=True):
        expected = split.tokens[split.offsets[row] : split.offsets[row + 1]]
        assert ids[mask == 1].tolist() == expected.tolist()
        assert (ids[mask == 0] == prepared.pad_token_id).all()
    assert split.batch([3, 1], 0)["input_ids"].shape[1] == split.lengths[[3, 1]].max()
    out = np.zeros_like(split.labels)
    split.scatter([3, 1], np.array([7, 8]), out, by_token=False)
    assert out[[3, 1]].tolist() == [7, 8] and out.sum() == 15


def test_a_cached_task_is_loaded_without_heavy_imports(tmp_path: Path) -> None:
    dataset = write_splits(tmp_path)
    prepare_task(tiny(dataset))
    program = LOADED.format(dataset=dataset)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_only_relevant_settings_change_the_cache_key(tmp_path: Path) -> None:
    dataset = write_splits(tmp_path)
    task = tiny(dataset)
    first = prepare_task(task)
    assert prepare_task(replace(task, epochs=3.0, steps=7)) == first
    others = [replace(task, seed=1), replace(task, max_length=8), replace(task, train_samples=10)]
    assert len({first.folder, *(prepare_task(other).folder for other in others)}) == 4
    write_jsonl(Path(dataset["train"]), rows(30))
    assert prepare_task(task).sizes["train"] == 30


def test_the_same_task_gives_the_same_bytes_in_another_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tiny(write_splits(tmp_path))
    here = prepare_task(task)
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "other"))
    there = prepare_task(task)
    seals = [json.loads((Path(p.folder) / cache.MANIFEST).read_bytes()) for p in (here, there)]
    assert here.folder != there.folder and seals[0] == seals[1]
    assert "model/model.safetensors" in seals[0]
    assert pickle.loads(pickle.dumps(here)) == here


@pytest.mark.parametrize("damage", ["cut", "flip", "delete", "no seal", "a file in its place"])
def test_a_damaged_cache_entry_is_rebuilt(tmp_path: Path, damage: str) -> None:
    task = tiny(write_splits(tmp_path))
    prepared = prepare_task(task)
    expected = load_split(prepared, "train").tokens.tolist()
    folder = Path(prepared.folder)
    victim = folder / "train.safetensors"
    content = victim.read_bytes()
    if damage == "cut":
        victim.write_bytes(content[:-20])
    elif damage == "flip":
        victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "delete":
        victim.unlink()
    elif damage == "no seal":
        (folder / cache.MANIFEST).write_text("{", encoding="utf-8")
    else:
        folder.rename(tmp_path / "moved")
        folder.write_text("", encoding="utf-8")
    assert load_split(prepare_task(task), "train").tokens.tolist() == expected
    assert not list(folder.parent.glob(".draft-*"))


def test_missing_prepared_data_is_an_error(tmp_path: Path) -> None:
    prepared = prepare_task(tiny(write_splits(tmp_path)))
    (Path(prepared.folder) / "test.safetensors").unlink()
    with pytest.raises(DataError, match="missing or damaged"):
        load_split(prepared, "test")


def test_concurrent_builders_leave_one_complete_entry(cache_folder: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "a").write_text("whole", encoding="utf-8")

    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: cache.get_or_build("kind", "key", build), range(32)))
    assert set(folders) == {cache_folder / "kind" / "key"}
    assert cache.is_valid(folders[0])
    assert [path.name for path in (cache_folder / "kind").iterdir()] == ["key"]


def test_a_build_that_fails_leaves_nothing(cache_folder: Path) -> None:
    def full(folder: Path) -> None:
        (folder / "a").write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left on device") as caught:
        cache.get_or_build("kind", "key", full)
    assert caught.value.hint is not None and "AUTOTUNE_CACHE" in caught.value.hint
    assert not list((cache_folder / "kind").iterdir())


def hub(monkeypatch: pytest.MonkeyPatch, known: dict[tuple[str, ...], Any]) -> None:
    """A hub that has the data sets ``known``."""

    def load_dataset(*name: str) -> Any:
        if name not in known:
            raise datasets.exceptions.DatasetNotFoundError(f"{'/'.join(name)} is not on the Hub")
        return known[name]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def glue(labels: list[int]) -> Any:
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    sentences = [f"sentence {i}" for i in range(len(labels))]
    return datasets.Dataset.from_dict({"sentence": sentences, "label": labels}, features=features)


def test_hub_sets_keep_label_names_and_lose_unlabelled_splits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits = {"train": glue([1, 0] * 20), "validation": glue([0, 1, 1]), "test": glue([-1] * 5)}
    hub(monkeypatch, {("glue", "sst2"): datasets.DatasetDict(splits)})
    prepared = prepare_task(tiny("glue/sst2", columns=Columns(text="sentence")))
    assert prepared.label_names == ("bad", "good")
    assert prepared.sizes == {"train": 36, "validation": 3, "test": 4}
    assert prepared.sources["validation"] == "glue/sst2 (validation) from the hub"
    assert load_split(prepared, "validation").labels.tolist() == [0, 1, 1]


def test_hub_names_in_all_their_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = datasets.DatasetDict({"train": glue([1, 0] * 20)})
    hub(
        monkeypatch,
        {("plain",): folders, ("owner/set",): folders, ("owner/set", "config"): folders},
    )
    for name in ("plain", "owner/set", "owner/set/config"):
        assert prepare_task(tiny(name, columns=Columns(text="sentence"))).num_labels == 2
    with pytest.raises(DataError, match="cannot load owner/nothing from the hub") as caught:
        prepare_task(tiny("owner/nothing"))
    assert caught.value.hint is not None and "use files" in caught.value.hint
