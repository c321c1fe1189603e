"""The deploy phase of a real trial, and the model that it deploys."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trial_cases import make_job

from autotune import deployment
from autotune.deployment import DeploymentSettings
from autotune.deployment.builders import onnx_quantization
from autotune.deployment.runtimes import HUB, SESSIONS
from autotune.domain import (
    Categorical,
    Completed,
    CurvePoint,
    Device,
    Failed,
    FailureReason,
    Infeasible,
    Measurement,
    Phase,
)
from autotune.domain.runtimes import RUNTIMES
from autotune.errors import Unsupported
from autotune.execution import outcomes
from autotune.hardware import inventory
from autotune.levers import LEVERS
from autotune.measure.correctness import count_hits
from autotune.trial import run
from autotune.trial.model_files import MODEL, describe_model, has_model, write_model

TRAIN_AND_DEPLOY = (Phase.TRAIN, Phase.DEPLOY)


def ignore(point: CurvePoint) -> None:
    pass


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions in this process instead of a measurement of serving in one of its own."""

    def measure(
        artifact: Path,
        examples: Sequence[Any],
        score: Callable[..., Mapping[str, Measurement]],
        settings: DeploymentSettings,
        gpu: int | None,
    ) -> Mapping[str, Measurement]:
        with deployment.open_artifact(artifact, settings.inference_threads) as predictor:
            logits = predictor.predict_all(examples)
        speed = Measurement("deployed_samples_per_second", 100.0, "samples/s", 4, (90.0, 110.0))
        return {speed.name: speed, **score(logits)}

    monkeypatch.setattr(deployment, "measure", measure)


def test_a_trained_model_is_deployed_without_training(tmp_path: Path, quick: None) -> None:
    job = make_job(tmp_path, settings={"steps": 4})
    job = replace(job, directory=str(tmp_path / "runs/0001"))
    first = replace(job, phases=TRAIN_AND_DEPLOY, keeps_model=True, serving_usd=0.36)
    outcome = run.run_trial(first, ignore)
    assert isinstance(outcome, Completed), outcome
    trained, model = outcome.result.measurements, outcome.result.model
    folder = Path(job.directory)
    assert model is not None and has_model(folder, model)
    assert model == describe_model(folder / MODEL)
    assert trained["deployed_accuracy"].value == trained["accuracy"].value
    assert not trained["deployed_accuracy"].samples
    assert trained["deployed_usd_per_million"].value == pytest.approx(1.0)
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [MODEL]

    again = replace(
        job, phases=(Phase.DEPLOY,), directory=str(tmp_path / "runs/0002"), model=model,
        model_folder=str(folder), strategy=job.strategy.with_values(inference_padding="bucketed"),
    )  # fmt: skip
    Path(again.directory).mkdir(parents=True)
    outcome = run.run_trial(again, ignore)
    assert isinstance(outcome, Completed), outcome
    deployed = outcome.result.measurements
    assert deployed["deployed_accuracy"].value == trained["accuracy"].value
    assert not {"accuracy", "train_seconds"} & deployed.keys() and not outcome.result.curve
    assert outcome.result.model is None


def test_confirmations_store_what_the_deployed_model_predicts_correctly(
    tmp_path: Path, quick: None
) -> None:
    job = replace(make_job(tmp_path, settings={"steps": 2}), phases=TRAIN_AND_DEPLOY)
    outcome = run.run_trial(replace(job, on_test_split=True), ignore)
    assert isinstance(outcome, Completed), outcome
    score = outcome.result.measurements["deployed_accuracy"]
    correctness = outcome.result.correctness
    assert correctness is not None
    assert score.samples == tuple(count_hits(correctness)[0].astype(float))
    assert score.value == pytest.approx(sum(score.samples) / score.n)
    assert outcome.result.measurements["deployed_f1"].samples


def test_a_damaged_model_is_trained_again(tmp_path: Path, quick: None) -> None:
    job = make_job(tmp_path, settings={"steps": 2})
    other = tmp_path / "runs/0009"
    model = write_model(other, lambda folder: _write(folder / "config.json", "{}"))
    _write(other / MODEL / "config.json", "[]")
    job = replace(job, phases=(Phase.DEPLOY,), model=model, model_folder=str(other))
    outcome = run.run_trial(job, ignore)
    assert isinstance(outcome, Completed), outcome
    assert {"accuracy", "deployed_accuracy"} <= outcome.result.measurements.keys()
    assert any("trained again" in event.message for event in outcome.result.events)
    assert outcome.result.model is None and not (Path(job.directory) / MODEL).exists()


def test_a_model_that_cannot_be_deployed_so_keeps_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*arguments: object) -> Path:
        raise Unsupported("no operator for this")

    monkeypatch.setattr(deployment, "build", build)
    job = make_job(tmp_path, settings={"steps": 2})
    outcome = run.run_trial(replace(job, phases=TRAIN_AND_DEPLOY, keeps_model=True), ignore)
    assert isinstance(outcome, Infeasible) and outcome.failure is FailureReason.DEPLOYMENT
    assert outcome.reason == "the trained model cannot be deployed: no operator for this"
    assert "accuracy" in outcome.result.measurements and outcome.result.model is not None


def test_a_full_disk_is_a_fault_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries in other languages pass only the message on."""

    def build(*arguments: object) -> Path:
        raise RuntimeError(f"write failed: {os.strerror(errno.ENOSPC)} (os error 28)")

    monkeypatch.setattr(deployment, "build", build)
    job = replace(make_job(tmp_path, settings={"steps": 2}), phases=TRAIN_AND_DEPLOY)
    with pytest.raises(OSError) as caught:
        run.run_trial(job, ignore)
    outcome = outcomes.of_exception(caught.value, None)
    assert isinstance(outcome, Failed) and outcome.failure is FailureReason.INFRASTRUCTURE


def test_a_worker_that_dies_leaves_no_model(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def write(folder: Path) -> None:
        _write(folder / "config.json", "{}")
        raise Killed

    with pytest.raises(Killed):
        write_model(tmp_path, write)
    assert not (tmp_path / MODEL).exists()
    model = write_model(tmp_path, lambda folder: _write(folder / "config.json", "{}"))
    assert has_model(tmp_path, model) and [path.name for path in tmp_path.iterdir()] == [MODEL]


def test_bf16_is_deployed_where_the_device_that_serves_has_it() -> None:
    cpu, gpu = Device("cpu", "cpu", "CPU", 8.0), Device("cuda:0", "cuda", "GPU", 24.0, bf16=True)
    clauses = LEVERS["quantization"].forbidden_on(replace(inventory(), devices=(cpu, gpu)))
    assert ["onnxruntime" in clause.excludes for clause in clauses] == [True]
    older = replace(gpu, bf16=False)
    clauses = LEVERS["quantization"].forbidden_on(
        replace(inventory(), devices=(replace(cpu, bf16=True), older))
    )
    assert ["device == 'cuda:0'" in clause.excludes for clause in clauses] == [True]
    clauses = LEVERS["quantization"].forbidden_on(replace(inventory(), devices=(cpu, older)))
    assert not [*clauses]  # bf16 is not offered at all


def test_levers_offer_what_can_be_deployed() -> None:
    assert SESSIONS.keys() - {HUB} == RUNTIMES.keys()
    operators = LEVERS["quantization_operators"].domain
    assert isinstance(operators, Categorical)
    assert {*operators.values} == onnx_quantization.OPERATORS.keys()


def _write(path: Path, text: str) -> None:
    path.write_text(text)
