"""Edits of ``training_args.json`` count, or the script says where to edit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autotune.export import exporter
from autotune.export.templates import train_hf_trainer
from tests.export import samples


class Built(Exception):
    """Ends the script when it builds the model."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    out = tmp_path / "out"
    study = samples.study(samples.write_data(tmp_path))
    exporter("hf-trainer").export(study, samples.trial(), out)
    monkeypatch.setattr(train_hf_trainer, "HERE", out)
    monkeypatch.setattr(train_hf_trainer, "apply_device_settings", lambda *_: "cpu")
    return out


def edit(folder: Path, **arguments: Any) -> None:
    path = folder / "training_args.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **arguments}))


def test_field_an_edited_seed_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def build(_strategy: Any, _prepared: Any, _collate: Any, seed: int) -> None:
        seeds.append(seed)
        raise Built

    monkeypatch.setattr(train_hf_trainer, "build_model", build)
    monkeypatch.setattr(train_hf_trainer, "set_seed", seeds.append)
    edit(folder, seed=1234)
    with pytest.raises(Built):
        train_hf_trainer.main()
    assert seeds == [1234, 1234]


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("data_seed", 3, "set seed in strategy.json"),
        ("dataloader_num_workers", 2, "this script cannot use it"),
        ("dataloader_drop_last", True, "this script cannot use it"),
    ],
)
def test_field_arguments_without_effect_are_refused(
    name: str, value: Any, instead: str, folder: Path
) -> None:
    exported = train_hf_trainer.open_folder(folder)
    assert train_hf_trainer.read_arguments(exported).seed == 0
    edit(folder, **{name: value})
    with pytest.raises(SystemExit, match=f"{name} has no effect here: {instead}"):
        train_hf_trainer.read_arguments(exported)


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_field_precision_is_that_of_the_evaluation_too(name: str, folder: Path) -> None:
    exported = train_hf_trainer.open_folder(folder)
    value = not getattr(train_hf_trainer.read_arguments(exported), name)
    edit(folder, **{name: value})
    with pytest.raises(SystemExit, match=rf"{name} differs from precision .* change both"):
        train_hf_trainer.read_arguments(exported)
