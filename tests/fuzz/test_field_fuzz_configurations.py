"""Mutated trainer configurations for ``import``, and exported folders for ``verify``."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotune import spec
from autotune.errors import UsageError
from autotune.export.accelerate import launch_config
from autotune.export.checksums import MANIFEST, changed_files, checksums, write_manifest
from autotune.export.deepspeed import ds_config
from autotune.export.hf_trainer import training_arguments
from autotune.export.verify import compare, launchable, read_folder, read_metrics, require_unchanged
from autotune.importers.study import read_configuration, study_file
from tests.export import samples
from tests.fuzz.mutations import (
    Problems,
    change_bytes,
    change_document,
    change_lines,
    count,
    generators,
    problem_of,
)

FILES = 150


def document(kind: str) -> Any:
    trial = samples.trial(
        device="cuda:0", parallelism="ddp:2", micro_batch_size=4, precision="bf16"
    )
    return {
        "trainer": training_arguments(samples.study(), trial, 80),
        "accelerate": {**launch_config(trial.strategy), "fsdp_config": {"fsdp_version": 2}},
        "deepspeed": {**ds_config(trial.strategy), "zero_optimization": {"stage": 1}},
    }[kind]


def mutate(source: Any, suffix: str, rng: random.Random) -> bytes:
    changed = change_document(source, rng) if rng.random() < 0.6 else source
    text = json.dumps(changed, indent=1) if suffix == "json" else yaml.safe_dump(changed)
    data = text.encode("utf-8", "surrogatepass")
    if changed is not source:
        return data
    return rng.choice((change_bytes, change_lines))(data, rng)


@pytest.mark.parametrize("kind", ["trainer", "accelerate", "deepspeed"])
def test_mutated_trainer_configurations(kind: str, tmp_path: Path) -> None:
    """What ``import`` accepts becomes a study file that is valid, or that has mistakes."""
    suffix = "yaml" if kind == "accelerate" else "json"
    path, source, problems = tmp_path / f"args.{suffix}", document(kind), Problems()
    study_path = tmp_path / "study.yaml"

    def import_file() -> None:
        text = study_file(read_configuration(path), "mine")
        study_path.write_text(text, encoding="utf-8")

    for index, rng in enumerate(generators(count(FILES))):
        path.write_bytes(data := mutate(source, suffix, rng))
        study_path.unlink(missing_ok=True)
        problems.add(problem_of(import_file, names=path.name), data)
        if study_path.exists() and index % 10 == 0:  # ten times as slow
            problems.add(problem_of(lambda: spec.load(study_path, host=samples.HOST)), data)
    assert not problems.first


EXPORT = {
    "command": ["python", "train.py"],
    "measured": {
        "train_samples_per_second": {"value": 100.0, "unit": "1/s", "ci95": [99.0, 101.0]},
        "accuracy": {"value": 0.8, "unit": "ratio", "n": 100, "ci95": None},
    },
}
METRICS = {
    "windows": [{"examples": 100, "seconds": 1.0, "warmup": False}] * 3,
    "reference_seconds": [0.5, 0.5],
    "validation": {"accuracy": {"value": 0.8, "unit": "ratio", "n": 100, "ci95": [0.7, 0.9]}},
}
SEALED = {"strategy.json": EXPORT, "metrics.json": METRICS}


def test_mutated_exports(tmp_path: Path) -> None:
    """``verify`` reads a folder whose files are damaged, or names the file that is."""
    script = tmp_path / "train.py"
    script.write_text("print()")
    problems = Problems()

    def read() -> None:
        require_unchanged(tmp_path)

    def read_changed() -> None:
        exported = read_folder(tmp_path)
        launchable(exported["command"])
        compare(exported["measured"], [read_metrics(tmp_path / "metrics.json")])

    for rng in generators(count(FILES)):
        (tmp_path / MANIFEST).unlink(missing_ok=True)
        for name, contents in SEALED.items():
            (tmp_path / name).write_text(json.dumps(contents))
        write_manifest(tmp_path, checksums(tmp_path))
        name = rng.choice([*SEALED, MANIFEST])
        path = tmp_path / name
        data = path.read_bytes() if name == MANIFEST else b""
        damaged = change_bytes(data, rng) if data else mutate(SEALED[name], "json", rng)
        path.write_bytes(damaged)
        problems.add(problem_of(read), damaged)
        problems.add(problem_of(read_changed), damaged)
    assert not problems.first


def test_a_change_of_one_byte_is_detected(tmp_path: Path) -> None:
    for rng in generators(20):
        (tmp_path / MANIFEST).unlink(missing_ok=True)
        data = json.dumps(EXPORT).encode()
        (tmp_path / "strategy.json").write_bytes(data)
        write_manifest(tmp_path, checksums(tmp_path))
        if (changed := change_bytes(data, rng)) != data:
            (tmp_path / "strategy.json").write_bytes(changed)
            assert changed_files(tmp_path) == ["strategy.json"]
            with pytest.raises(UsageError, match=r"strategy\.json"):
                require_unchanged(tmp_path)
