"""``import``: a study that starts from a trainer's own configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotune import spec
from autotune.errors import UsageError
from autotune.export.accelerate import launch_config
from autotune.export.deepspeed import ds_config
from autotune.export.hf_trainer import training_arguments
from autotune.export.importing import read_configuration, study_file
from tests.export import samples

LEVERS: dict[str, Any] = {
    "batch_size": 32,
    "micro_batch_size": 8,
    "precision": "bf16",
    "learning_rate": 2e-4,
    "optimizer": "adamw",
}


def written(path: Path, document: Any) -> Path:
    text = json.dumps(document) if path.suffix == ".json" else yaml.safe_dump(document)
    path.write_text(text)
    return path


def test_training_arguments_come_back(tmp_path: Path) -> None:
    exported = training_arguments(samples.study(), samples.trial(**LEVERS, epochs=2.0))
    imported = read_configuration(written(tmp_path / "args.json", exported))
    assert imported.levers == {**LEVERS, "device": "cpu"}
    assert imported.task["epochs"] == 2.0
    assert imported.left == {}


def test_accelerates_configuration_comes_back(tmp_path: Path) -> None:
    one = samples.trial(precision="bf16", compile=True).strategy
    imported = read_configuration(written(tmp_path / "config.yaml", launch_config(one)))
    assert imported.levers == {"precision": "bf16", "device": "cpu", "compile": True}
    two = samples.trial(device="cuda:0", parallelism="ddp:2").strategy
    imported = read_configuration(written(tmp_path / "config.yaml", launch_config(two)))
    assert imported.levers == {"parallelism": "ddp:2"}


def test_deepspeeds_configuration_comes_back(tmp_path: Path) -> None:
    config = ds_config(samples.trial(**{**LEVERS, "optimizer": "adamw-fused"}).strategy)
    imported = read_configuration(written(tmp_path / "ds.json", config))
    assert imported.levers == {**LEVERS, "optimizer": "adamw-fused"}


def test_what_has_no_lever_is_told(tmp_path: Path) -> None:
    document = {"output_dir": "x", "warmup_steps": 100, "optim": "lomo", "neftune_noise_alpha": 5}
    imported = read_configuration(written(tmp_path / "args.json", document))
    assert set(imported.left) == {"warmup_steps", "optim", "neftune_noise_alpha"}
    assert all(f"#   {key}: " in study_file(imported, "mine") for key in imported.left)


def test_automatic_values_of_deepspeed_are_not_numbers(tmp_path: Path) -> None:
    document = {
        "train_batch_size": "auto",
        "optimizer": {"type": "AdamW", "params": {"lr": "auto"}},
    }
    imported = read_configuration(written(tmp_path / "ds.json", document))
    assert imported.levers == {"optimizer": "adamw-fused"}


@pytest.mark.parametrize("length", [{"max_steps": 70}, {"num_train_epochs": 4}])
def test_the_study_file_is_valid_and_starts_there(length: dict[str, int], tmp_path: Path) -> None:
    document = {
        "output_dir": "x",
        "per_device_train_batch_size": 64,
        "learning_rate": 1e-4,
        **length,
    }
    imported = read_configuration(written(tmp_path / "args.json", document))
    path = tmp_path / "mine.yaml"
    path.write_text(study_file(imported, "mine"))
    study = spec.load(path, host=samples.HOST).study
    assert study.name == "mine"
    (first,) = study.start_with
    assert (first["batch_size"], first["learning_rate"]) == (64, 1e-4)
    assert (study.task.steps, study.task.epochs)[:1] == (length.get("max_steps"),)
    assert study.task.epochs == length.get("num_train_epochs", 1.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", "{"), ("a.json", "[]"), ("a.json", '{"x": 1}'), ("a.yaml", "a: [")],
)
def test_other_files_are_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as caught:
        read_configuration(tmp_path / name)
    assert name in caught.value.message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_configuration(tmp_path / "none.json")


def test_loaders_and_offload_are_taken(tmp_path: Path) -> None:
    document = {"output_dir": "x", "dataloader_num_workers": 2, "dataloader_prefetch_factor": 4}
    imported = read_configuration(written(tmp_path / "args.json", document))
    assert (imported.levers["loader_workers"], imported.levers["prefetch"]) == (2, 4)
    zero = {"stage": 3, "offload_param": {"device": "cpu"}, "offload_optimizer": {"device": "cpu"}}
    document = {"train_batch_size": 8, "zero_optimization": zero, "flops_profiler": {"enabled": 1}}
    imported = read_configuration(written(tmp_path / "ds.json", document))
    assert imported.levers["offload"] == "parameters"
    assert set(imported.left) == {"zero_optimization", "gradient_clipping", "flops_profiler"}


@pytest.mark.parametrize(
    "document",
    [
        {"output_dir": "x", "per_device_train_batch_size": "eight"},
        {"output_dir": "x", "learning_rate": [1]},
        {"train_batch_size": 8, "optimizer": 3},
        {"distributed_type": "NO", "num_processes": "two"},
    ],
)
def test_values_of_the_wrong_kind_are_refused(document: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.json: a value is not of the kind"):
        read_configuration(written(tmp_path / "a.json", document))
