"""Exported models predict, in a process without autotune and torch, what the trained model does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from typer.testing import CliRunner

from autotune.cli.app import app
from autotune.deployment.artifact import PRUNED
from autotune.deployment.load import running_server
from autotune.deployment.runtimes import hub
from autotune.deployment.trained_model import TaskFacts, load, save
from autotune.domain import Columns, SavedModel, Study, Task, Trial, TrialResult
from autotune.errors import ModelError, UsageError
from autotune.export import exporter, prediction
from autotune.export.artifact_predictions import require_trial_tokens
from autotune.export.artifact_rows import PREDICTIONS, VALIDATION, validation_rows
from autotune.export.artifacts import ArtifactFormat
from autotune.export.checksums import changed_files
from autotune.export.prediction import predict_rows, rename_columns
from autotune.export.trained import trained_model_folder
from autotune.export.verify_artifact import is_same_prediction, verify_artifact
from autotune.trial.data.datasets import PreparedTask, prepare_task, read_examples
from autotune.trial.effects.pruning_plan import PruningPlan, apply_plan
from autotune.trial.model_files import write_model
from autotune.trial.models import load_model
from tests.export import samples

DEPLOYMENT = {
    "runtime": "onnxruntime",
    "quantization": "int8-dynamic",
    "quantization_granularity": "channel",
    "quantization_operators": "all",
    "inference_batch_size": 4,
    "inference_threads": 1,
    "inference_padding": "bucketed",
}

ISOLATED = """
import runpy, sys
for name in ("torch", "transformers", "autotune"):
    sys.modules[name] = None
sys.argv = ["predict.py", "--input", "validation.jsonl", "--output", sys.argv[1]]
sys.path.insert(0, ".")
runpy.run_path("predict.py", run_name="__main__")
"""


class Trained:
    """A study, one trial of it, and the folder of its pruned model."""

    def __init__(self, root: Path) -> None:
        self.study = samples.study(samples.write_data(root))
        self.trial = samples.trial(**DEPLOYMENT)
        self.runs = root / "runs"
        self.prepared = prepare_task(self.study.task)
        folder = self.runs / self.study.name / f"{self.trial.number:04d}"
        saved = write_model(folder, self._save)
        self.trial = replace(self.trial, result=TrialResult(model=saved))

    def _save(self, folder: Path) -> None:
        model = load_model(self.prepared, seed=0)
        plan = PruningPlan(
            layers=[0, 1],
            heads=[[0, 2], [1, 2, 3]],
            neurons=[list(range(300)), list(range(200))],
        )
        apply_plan(model, plan)
        facts = TaskFacts(
            "text-classification",
            "AutoModelForSequenceClassification",
            self.prepared.label_names,
            self.prepared.max_length,
            self.prepared.pad_token_id,
        )
        save(model, AutoTokenizer.from_pretrained(self.prepared.model_dir), facts, folder)

    @property
    def model(self) -> Path:
        return trained_model_folder(self.study, [self.trial], self.trial, self.runs)

    def export(self, export_format: str, folder: Path) -> Path:
        exporter(export_format, model=self.model).export(self.study, self.trial, folder)
        return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNE_CACHE", str(root / "cache"))
        return Trained(root)


@pytest.fixture(autouse=True)
def cache(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_CACHE", str(trained.runs.parent / "cache"))


@pytest.fixture(scope="module")
def docker_folder(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNE_CACHE", str(trained.runs.parent / "cache"))
        return trained.export("docker", tmp_path_factory.mktemp("docker") / "out")


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_document(folder: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads((folder / "strategy.json").read_bytes())
    return document


def test_predictions_need_neither_torch_nor_autotune(docker_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "predictions.jsonl"
    command = [sys.executable, "-c", ISOLATED, str(output)]
    subprocess.run(command, cwd=docker_folder, check=True, timeout=250)
    promised = read_lines(docker_folder / PREDICTIONS)
    assert len(promised) == len(read_lines(docker_folder / VALIDATION)) > 0
    assert len({prediction["score"] for prediction in promised}) > 1
    assert all(map(is_same_prediction, promised, read_lines(output)))


def test_the_export_is_what_the_trial_deployed(docker_folder: Path) -> None:
    document = read_document(docker_folder)
    assert document["deployment"] == DEPLOYMENT
    assert document["left_out"] == {}
    labels = [row["label"] for row in read_lines(docker_folder / VALIDATION)]
    predictions = [row["label"] for row in read_lines(docker_folder / PREDICTIONS)]
    hits = sum(first == second for first, second in zip(labels, predictions, strict=True))
    assert document["exported"]["deployed_accuracy"]["value"] == pytest.approx(hits / len(labels))
    assert changed_files(docker_folder) == []


def test_the_export_says_how_it_does_on_the_test_split(
    trained: Trained, docker_folder: Path
) -> None:
    """Its predictions are those of ``predict.py`` for the rows of that split."""
    examples = read_examples(trained.study.task)["test"]
    texts = docker_folder.parent / "test.jsonl"
    rows = ({"text": text} for (text, *_) in examples.inputs)
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = [sys.executable, "predict.py", "--input", str(texts)]
    process = subprocess.run(
        command, cwd=docker_folder, check=True, capture_output=True, text=True, timeout=250
    )
    labels = [json.loads(line)["label"] for line in process.stdout.splitlines()]
    hits = sum(map(str.__eq__, labels, examples.labels))
    record = read_document(docker_folder)["tested"]["deployed_accuracy"]
    assert (record["value"], record["n"]) == (pytest.approx(hits / len(labels)), len(labels))
    assert "On the test split" in (docker_folder / "README.md").read_text(encoding="utf-8")


def test_verify_finds_other_predictions(docker_folder: Path) -> None:
    checks = {check.metric: check for check in verify_artifact(docker_folder)}
    assert checks.keys() == {"predictions", "deployed_relative_speed"}
    assert checks["predictions"].passed
    path = docker_folder / PREDICTIONS
    original = path.read_text(encoding="utf-8")
    try:
        path.write_text(original.replace('"label": "', '"label": "other '), encoding="utf-8")
        checks = {check.metric: check for check in verify_artifact(docker_folder)}
        assert not checks["predictions"].passed
    finally:
        path.write_text(original, encoding="utf-8")


def test_everything_that_the_image_needs_is_in_the_folder(docker_folder: Path) -> None:
    """No engine runs here, so its instructions are checked one by one."""
    lines = (docker_folder / "Dockerfile").read_text(encoding="utf-8").splitlines()
    sources = [line.split()[1] for line in lines if line.startswith("COPY")]
    assert sources == ["requirements.txt", "."]
    assert all((docker_folder / source).exists() for source in sources)
    command = json.loads(next(line for line in lines if line.startswith("CMD"))[4:])
    assert (docker_folder / command[1]).is_file()
    packages = (docker_folder / "requirements.txt").read_text(encoding="utf-8").split()
    assert {re.split("==", package)[0] for package in packages} == {
        "numpy", "onnxruntime", "tokenizers",
    }  # fmt: skip


def test_the_server_answers_with_the_predictions(docker_folder: Path) -> None:
    from http.client import HTTPConnection

    rows = validation_rows(docker_folder)
    with running_server(docker_folder) as (host, port):
        connection = HTTPConnection(host, port, timeout=250)
        connection.request("POST", "/predict", json.dumps({"rows": rows}))
        answer = json.loads(connection.getresponse().read())
        connection.close()
    promised = read_lines(docker_folder / PREDICTIONS)
    assert all(map(is_same_prediction, promised, answer["predictions"]))


def test_bench_measures_each_number_of_clients(docker_folder: Path) -> None:
    arguments = ["bench", str(docker_folder), "--concurrency", "1,3", "--seconds", "0.1", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    records = json.loads(result.stdout)
    assert [record["concurrency"] for record in records] == [1, 3]
    assert all(0 < r["p50_ms"] <= r["p95_ms"] <= r["p99_ms"] for r in records)


@pytest.mark.parametrize("counts", ["", "0", "1,x", "-2", "1,,2"])
def test_bench_needs_numbers_of_clients(docker_folder: Path, counts: str) -> None:
    result = CliRunner().invoke(app, ["bench", str(docker_folder), f"--concurrency={counts}"])
    assert isinstance(result.exception, UsageError)


def test_bench_needs_an_exported_model(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    assert "validation.jsonl" in result.exception.message


def test_predictions_of_a_trial_are_those_of_its_export(
    trained: Trained, docker_folder: Path, tmp_path: Path
) -> None:
    rows = [{"text": row["text"]} for row in validation_rows(docker_folder)]
    before = sorted(trained.model.parent.iterdir())
    predictions = predict_rows(trained.study, trained.trial.strategy, trained.model, rows, tmp_path)
    assert sorted(trained.model.parent.iterdir()) == before  # which can be read-only
    assert all(map(is_same_prediction, read_lines(docker_folder / PREDICTIONS), predictions))


def test_the_length_of_a_trial_is_that_of_its_export_and_predictions(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[Task] = []

    def write(own: ArtifactFormat, study: Study, *arguments: Any) -> None:
        tasks.append(study.task)

    def prepare(task: Task) -> PreparedTask:
        tasks.append(task)
        return trained.prepared

    monkeypatch.setattr(ArtifactFormat, "_write", write)
    monkeypatch.setattr(prediction, "prepare_task", prepare)
    changes: dict[str, Any] = {"runtime": "torch", "quantization": "none", "max_length": 16}
    trial = replace(trained.trial, strategy=trained.trial.strategy.with_values(**changes))
    exporter("onnx", model=trained.model).export(trained.study, trial, tmp_path / "out")
    rows = [{"text": "bread and rain"}]
    predict_rows(trained.study, trial.strategy, trained.model, rows, tmp_path)
    assert [task.max_length for task in tasks] == [16, 16]


def test_rows_can_have_the_columns_of_the_study() -> None:
    columns = Columns("question", "sentence")
    row = {"question": "a", "sentence": "b"}
    assert rename_columns(row, columns).items() >= {"text": "a", "text_pair": "b"}.items()


@pytest.mark.parametrize("names", [("title", "text"), ("text", "title")])
def test_the_column_of_the_study_wins(names: tuple[str, str]) -> None:
    row = dict.fromkeys(names, "another")
    row["title"] = "own"
    renamed = rename_columns(row, Columns("title"))
    assert (renamed["text"], renamed["tokens"]) == ("own", "own")


def test_transformers_loads_an_exported_model(trained: Trained, tmp_path: Path) -> None:
    folder = trained.export("model", tmp_path / "out")
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer("bread and rain", return_tensors="pt")
    with torch.inference_mode():
        torch.testing.assert_close(
            model(**inputs).logits, load(trained.model)(**inputs).logits, atol=1e-4, rtol=1e-4
        )
    left = read_document(folder)["left_out"]
    assert left.keys() == {"runtime", "quantization"}
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("---\npipeline_tag")


def test_a_pruned_model_is_exported_in_its_own_shapes(trained: Trained, tmp_path: Path) -> None:
    """transformers loads it with the class beside it, and ``predict.py`` without."""
    folder = trained.export("model", tmp_path / "out")
    expected = load(trained.model)
    inputs = AutoTokenizer.from_pretrained(folder / PRUNED)("bread and rain", return_tensors="pt")
    by_class = AutoModelForSequenceClassification.from_pretrained(
        folder / PRUNED, trust_remote_code=True
    )
    for model in (by_class.eval(), hub.load_model(folder)):
        assert model.num_parameters() == expected.num_parameters()
        with torch.inference_mode():
            torch.testing.assert_close(model(**inputs).logits, expected(**inputs).logits)
    padded = AutoModelForSequenceClassification.from_pretrained(folder)
    assert padded.num_parameters() > expected.num_parameters()


def test_other_tokens_than_those_of_the_trial_are_an_error(
    docker_folder: Path, trained: Trained, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(docker_folder, folder)
    require_trial_tokens(trained.prepared, folder)
    rows = (folder / VALIDATION).read_text(encoding="utf-8").splitlines()
    row = json.loads(rows[1])
    rows[1] = json.dumps({**row, "text": f"{row['text']} more"})
    (folder / VALIDATION).write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(ModelError, match="other tokens of row 2"):
        require_trial_tokens(trained.prepared, folder)


def test_bench_opens_the_runtimes_of_exports_only(docker_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(docker_folder, folder)
    path = folder / "deployment.json"
    document = {**json.loads(path.read_bytes()), "runtime": "torch-compile"}
    path.write_text(json.dumps(document), encoding="utf-8")
    result = CliRunner().invoke(app, ["bench", str(folder)])
    assert isinstance(result.exception, UsageError)
    assert "no exported model has the runtime 'torch-compile'" in result.exception.message


def test_a_model_that_was_not_kept_is_an_error_with_a_way_out(trained: Trained) -> None:
    other = replace(trained.trial, result=TrialResult())
    with pytest.raises(UsageError, match="was not kept") as error:
        trained_model_folder(trained.study, [other], other, trained.runs)
    assert "keep: all" in (error.value.hint or "")


def test_a_changed_model_is_not_exported(trained: Trained) -> None:
    changed = replace(trained.trial, result=TrialResult(model=SavedModel("0" * 64, 1)))
    with pytest.raises(UsageError, match="missing or damaged"):
        trained_model_folder(trained.study, [changed], changed, trained.runs)


def test_a_shared_training_is_found_in_the_folder_of_its_trial(trained: Trained) -> None:
    strategy = trained.trial.strategy.with_values(quantization="none")
    other = Trial(9, trained.trial.state, strategy, seed=trained.trial.seed)
    study: Study = trained.study
    assert trained_model_folder(study, [trained.trial], other, trained.runs) == trained.model
