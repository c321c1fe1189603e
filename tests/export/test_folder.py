"""The content of exported folders, and the protection of other files."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from autotune.components import EXPORT_FORMATS
from autotune.domain import Columns
from autotune.errors import UsageError
from autotune.export import checksums, exporter
from autotune.export.base import ScriptFormat, requirements
from autotune.export.templates.folder import ExportFolder, open_folder
from autotune.export.vendoring import script
from autotune.trial.builtin import build_bert_tiny
from autotune.trial.data.datasets import load_split, prepare_task
from autotune.trial.models import load_model
from tests.export import samples

SCRIPTS = {name: fmt for name in EXPORT_FORMATS if isinstance(fmt := exporter(name), ScriptFormat)}
TEMPLATES = sorted({found.template for found in SCRIPTS.values()})

INDIRECT_PACKAGES = {"huggingface_hub", "pyarrow"}
"""transformers requires the first; the second reads Parquet, which no folder contains."""

IMPORTED_BY_TRANSFORMERS = {"accelerate", "tokenizers"}
"""Packages that no script imports directly."""


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_folder_contains_all_modules_of_its_script(template: str) -> None:
    files = script(template, "1.0")
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files
    }
    for name, text in files.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                top = (node.module or "").partition(".")[0]
                assert top != "autotune"
                assert top != "tuned" or node.module in modules, f"{name} imports {node.module}"


def test_a_folder_contains_the_modules_that_a_plug_in_imports(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text("import autotune.domain.schedule\nfrom autotune.plugins import load\n")
    files = script("train_torchrun", "1.0", [str(plugin)])
    assert {"tuned/domain/schedule.py", "tuned/plugins.py"} <= files.keys()
    (copy,) = (text for name, text in files.items() if name.endswith("/mine.py"))
    assert copy.startswith("import tuned.domain.schedule\nfrom tuned.plugins import load")


def test_without_its_parallelism_a_strategy_trains_in_one_process(tmp_path: Path) -> None:
    study = samples.study(samples.write_data(tmp_path, 80))
    trial = samples.trial(parallelism="tp:2", batch_size=16)
    exporter("hf-trainer", allow_partial=True).export(study, trial, tmp_path / "out")
    document = json.loads((tmp_path / "out/strategy.json").read_text())
    assert document["command"] == ["python", "train.py"]
    assert "parallelism" in document["left_out"]
    assert document["strategy"]["parallelism"] == "none"
    arguments = json.loads((tmp_path / "out/training_args.json").read_text())
    assert arguments["per_device_train_batch_size"] == 16


def test_data_and_strategy_are_those_of_the_trial(tmp_path: Path) -> None:
    whole = samples.study(samples.write_data(tmp_path), train_samples=40)
    out = tmp_path / "out"
    files = exporter("torchrun").export(whole, samples.trial(pruning_ratio=0.5), out)
    assert all(path.is_file() for path in files)
    folder = open_folder(out)
    assert folder.strategy == samples.trial(pruning_ratio=0.5).strategy
    prepared = prepare_task(whole.task)
    for name in ("train", "validation", "test"):
        there, here = load_split(prepared, name), folder.split(name)
        assert np.array_equal(there.tokens, here.tokens)
        assert np.array_equal(there.offsets, here.offsets)
        assert np.array_equal(there.labels, here.labels)
    assert len(folder.split("train")) == 40


@pytest.mark.parametrize("kept", ["pytorch_model.bin", "model.safetensors"])
def test_weights_are_copied_in_either_format(kept: str, tmp_path: Path) -> None:
    model = tmp_path / "mine"
    texts = [f"{word} bread" for word in "rain wind sun"]
    build_bert_tiny(model, texts, seed=0)
    weights = load_file(model / "model.safetensors")
    torch.save(weights, model / "pytorch_model.bin")  # not copied if there are safetensors
    if kept == "pytorch_model.bin":
        (model / "model.safetensors").unlink()
    whole = samples.study(samples.write_data(tmp_path))
    whole = replace(whole, task=replace(whole.task, model=str(model)))
    exporter("torchrun").export(whole, samples.trial(), tmp_path / "out")
    found = {path.name for path in (tmp_path / "out/model").iterdir()}
    assert found & {"pytorch_model.bin", "model.safetensors"} == {kept}
    folder = open_folder(tmp_path / "out")
    loaded = load_model(folder.prepared, attention="eager", dropout=None, seed=1).state_dict()
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(loaded[name], weights[name.removeprefix("bert.")])


@pytest.mark.parametrize("safe", [True, False])
def test_weights_are_downloaded_in_either_format(
    safe: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def fetch(name: str, *, allow_patterns: list[str], ignore_patterns: str) -> str:
        asked.append(allow_patterns)
        if safe:
            (tmp_path / "model.safetensors").touch()
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    task = replace(samples.study().task, model="some/bert")
    folder = ExportFolder(tmp_path, samples.trial().strategy, task, 0, (), 16, None)
    assert folder.model_dir == str(tmp_path)
    assert (["pytorch_model*.bin"] in asked) != safe


def test_token_classification_is_exported(tmp_path: Path) -> None:
    rows = [
        {"tokens": ["Ada", "saw", f"Rome{i}"], "tags": ["B-PER", "O", "B-LOC" if i % 2 else "O"]}
        for i in range(60)
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = samples.study(path)
    task = replace(whole.task, kind="token-classification", columns=Columns("tokens", None, "tags"))
    exporter("hf-trainer").export(replace(whole, task=task), samples.trial(), tmp_path / "out")
    here, there = (
        open_folder(tmp_path / "out").split("train"),
        load_split(prepare_task(task), "train"),
    )
    assert here.labels_by_token
    assert np.array_equal(there.labels, here.labels)


def test_sha256sum_can_check_the_checksums(tmp_path: Path) -> None:
    exporter("yaml").export(samples.study(), samples.trial(), tmp_path)
    command = ["sha256sum", "--check", "--quiet", checksums.MANIFEST]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    assert checksums.changed_files(tmp_path) == []
    (tmp_path / "strategy.yaml").write_text("other")
    assert checksums.changed_files(tmp_path) == ["strategy.yaml"]


def test_a_folder_with_other_files_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not from an export"):
        exporter("yaml").export(samples.study(), samples.trial(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_earlier_export_is_replaced_completely(tmp_path: Path) -> None:
    whole = samples.study(samples.write_data(tmp_path))
    out = tmp_path / "out"
    exporter("hf-trainer").export(whole, samples.trial(), out)
    exporter("yaml").export(whole, samples.trial(), out)
    left = {path.name for path in out.rglob("*") if path.is_file()}
    assert left == {"strategy.yaml", checksums.MANIFEST}


def test_a_manifest_cannot_delete_files_outside_its_folder(tmp_path: Path) -> None:
    victim, out = tmp_path / "victim.txt", tmp_path / "out"
    victim.write_text("keep me")
    exporter("yaml").export(samples.study(), samples.trial(), out)
    with (out / checksums.MANIFEST).open("a") as file:
        file.write("0" * 64 + "  ../victim.txt\n")
    exporter("yaml", overwrite=True).export(samples.study(), samples.trial(), out)
    assert victim.read_text() == "keep me"


@pytest.mark.parametrize("name", SCRIPTS)
def test_requirements_list_what_a_script_imports(name: str) -> None:
    found = SCRIPTS[name]
    trial = samples.trial()
    adapted = replace(trial, strategy=trial.strategy.with_values(adapter="lora"))
    assert "peft" not in requirements(found.packages, trial)
    lines = requirements(found.packages, adapted).splitlines()
    listed = {re.split(r"[=\[]", line)[0] for line in lines}
    files = script(found.template, "1.0").values()
    imported = {top for text in files for top in imports(text)} - {"tuned", *INDIRECT_PACKAGES}
    assert imported - sys.stdlib_module_names <= listed
    assert listed - imported <= IMPORTED_BY_TRANSFORMERS


def imports(text: str) -> set[str]:
    """The packages that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.partition(".")[0] for name in names}


def test_requirements_are_the_versions_of_the_trial(tmp_path: Path) -> None:
    from autotune.domain import State, Trial, TrialResult

    ran = TrialResult(environment={"torch": "2.13.0+cpu", "transformers": "5.1.0"})
    trial = Trial(1, State.COMPLETE, samples.trial().strategy, result=ran)
    lines = requirements(("no-such-package",), trial).splitlines()
    assert "torch==2.13.0" in lines
    assert "transformers==5.1.0" in lines
    assert "no-such-package" in lines


def test_requirements_include_the_packages_of_a_sentencepiece_vocabulary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "spm.model").touch()
    study = samples.study(samples.write_data(tmp_path))
    prepared = replace(prepare_task(study.task), model_dir=str(model))
    monkeypatch.setattr("autotune.export.assets.write_assets", lambda task, directory: prepared)
    packages = {"sentencepiece", "protobuf"}
    exporter("torchrun").export(study, samples.trial(), tmp_path / "slow")
    assert packages <= required_packages(tmp_path / "slow")
    (model / "tokenizer.json").touch()
    exporter("torchrun").export(study, samples.trial(), tmp_path / "fast")
    assert not packages & required_packages(tmp_path / "fast")


def required_packages(folder: Path) -> set[str]:
    """The names in the ``requirements.txt`` of an exported folder."""
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return {line.partition("==")[0] for line in lines}
