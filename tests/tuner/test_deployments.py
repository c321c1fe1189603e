"""Trials that differ only in their deployment share one training run and its trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autotune.analysis.recommendation import Recommender
from autotune.deployment.artifact import GRAPH_CACHE_SUFFIX
from autotune.domain import (
    Budget,
    Categorical,
    Completed,
    Constraint,
    Dimension,
    FailureReason,
    Infeasible,
    Job,
    Measurement,
    Objective,
    Outcome,
    Phase,
    Retention,
    SamplerConfig,
    SavedModel,
    State,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.levers import training_key
from autotune.ports import Report
from autotune.store import SqlStore, open_store
from autotune.trial.model_files import MODEL, PRUNED, has_model, write_model
from autotune.tuner.cache import ResultCache, measured_phases
from autotune.tuner.retention import ModelRetention, unwanted_models
from autotune.tuner.samplers.factored.candidate_batch import CandidateBatch
from autotune.tuner.samplers.factored.candidates import Candidates
from autotune.tuner.samplers.factored.observations import Observations
from autotune.tuner.samplers.factored.posterior import Posterior
from autotune.tuner.samplers.factored.surrogates import Surrogates
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import Tuner, make_tuner
from tests.tuner.small_study import HOST, InlineExecutor, RecordingObserver, finished_trial

LATENCIES = {"torch": 8.0, "onnxruntime": 4.0, "openvino": 3.0}


@pytest.fixture
def serving(study: Study) -> Study:
    """Two trainings and three deployments of each."""
    dimensions = (
        Dimension("learning_rate", Categorical((5e-5, 4e-4))),
        Dimension("runtime", Categorical(tuple(LATENCIES))),
    )
    return replace(
        study,
        objectives=(
            Objective("latency_p50_ms", "minimize"),
            Objective("deployed_accuracy", "maximize"),
        ),
        constraints=(),
        space=replace(study.space, dimensions=dimensions),
        sampler=SamplerConfig("grid"),
        budget=Budget(trials=100),
        deploys=True,
        keep=Retention("front"),
    )


class ServingEvaluator:
    """Evaluates jobs by a formula, phase by phase, and leaves a model of one file."""

    def __init__(self, unsupported: str = "") -> None:
        self.jobs: list[Job] = []
        self._unsupported = unsupported

    def __call__(self, job: Job, report: Report) -> Outcome:
        self.jobs.append(job)
        model, metrics = None, {}
        accuracy = 0.9 if job.strategy["learning_rate"] == 4e-4 else 0.8
        if Phase.PROFILE in job.phases:
            metrics |= {"train_samples_per_second": 100.0, "setup_seconds": 1.0}
        if Phase.TRAIN in job.phases:
            metrics |= {"accuracy": accuracy, "train_samples": 800.0}
            content = repr(accuracy).encode() * 1000
            model = write_model(Path(job.directory), lambda f: _write(f / "weights", content))
        else:
            assert job.model is not None and job.model_folder is not None
            assert has_model(Path(job.model_folder), job.model)
        if job.strategy["runtime"] == self._unsupported:
            result = TrialResult(_measured(metrics), model=model)
            return Infeasible(FailureReason.DEPLOYMENT, "no operator", result)
        if Phase.DEPLOY in job.phases:
            latency = LATENCIES[str(job.strategy["runtime"])]
            metrics |= {"latency_p50_ms": latency, "deployed_accuracy": accuracy - 0.01}
            metrics |= {"deploy_seconds": 3.0}
        return Completed(TrialResult(_measured(metrics), model=model))

    def count(self, phase: Phase) -> int:
        return sum(phase in job.phases for job in self.jobs)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _measured(metrics: dict[str, float]) -> dict[str, Measurement]:
    return {name: Measurement(name, value, "x") for name, value in metrics.items()}


def search(
    study: Study, folder: Path, evaluator: ServingEvaluator
) -> tuple[SqlStore, Tuner, Sequence[Trial]]:
    store = open_store(f"sqlite:///{folder}/s.db")
    if study.name not in store.studies():
        store.create_study(study, {})
    tuner = make_tuner(
        study, store, make_sampler(study), InlineExecutor(), HOST,
        directory=folder, observer=RecordingObserver(),
    )  # fmt: skip
    tuner.run(evaluator)
    return store, tuner, store.trials(study.name)


def test_each_model_is_trained_once_and_deployed_in_every_way(
    serving: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = ServingEvaluator()
    store, tuner, trials = search(serving, tmp_path, evaluator)
    trainings = {training_key(trial.strategy) for trial in trials}
    deployments = {(training_key(t.strategy), t.strategy["runtime"]) for t in trials}
    assert evaluator.count(Phase.TRAIN) == len(trainings)
    assert evaluator.count(Phase.DEPLOY) == len(deployments) == len(trials)
    assert all(trial.metric("accuracy") is not None for trial in trials)
    shared = [t for t in trials if t.result.measurements["accuracy"].source is not None]
    assert len(shared) == len(trials) - len(trainings)
    assert all(t.result.measurements["latency_p50_ms"].source is None for t in trials)

    best = next(t for t in trials if t.strategy["learning_rate"] == 4e-4)
    monkeypatch.setattr(Recommender, "choose", lambda self, goal, members: best)
    message = tuner.keep_models()
    assert message is not None and "deleted (keep: front, 5 GB)" in message
    kept = [t for t in store.trials(serving.name) if t.result.model is not None]
    folders = {path.parent.name for path in tmp_path.glob(f"{serving.name}/*/{MODEL}")}
    assert [f"{trial.number:04d}" for trial in kept] == sorted(folders)
    assert {trial.strategy["learning_rate"] for trial in kept} == {4e-4}
    store.close()


def test_a_model_that_was_deleted_is_trained_again(serving: Study, tmp_path: Path) -> None:
    evaluator = ServingEvaluator()
    small = replace(serving, keep=Retention("all", gigabytes=1e-9))
    store, _, trials = search(small, tmp_path, evaluator)
    assert evaluator.count(Phase.TRAIN) == len(trials)
    assert all(trial.result.model is None for trial in trials)
    assert not list(tmp_path.glob(f"{serving.name}/*/{MODEL}"))
    store.close()


def test_a_search_without_deployments_keeps_nothing(serving: Study, tmp_path: Path) -> None:
    evaluator = ServingEvaluator()
    dimensions = serving.space.dimensions[:1]
    plain = replace(
        serving, deploys=False, keep=Retention(), objectives=(Objective("accuracy", "maximize"),),
        space=replace(serving.space, dimensions=dimensions),
    )  # fmt: skip
    store, *_ = search(plain, tmp_path, evaluator)
    assert evaluator.count(Phase.DEPLOY) == 0
    assert not any(job.keeps_model for job in evaluator.jobs)
    store.close()


def test_a_training_that_cannot_be_deployed_so_is_shared(serving: Study, tmp_path: Path) -> None:
    evaluator = ServingEvaluator(unsupported="onnxruntime")
    store, _, trials = search(serving, tmp_path, evaluator)
    failed = [t for t in trials if t.failure is FailureReason.DEPLOYMENT]
    assert {t.strategy["runtime"] for t in failed} == {"onnxruntime"}
    assert all(t.state is State.INFEASIBLE for t in failed)
    assert evaluator.count(Phase.TRAIN) == len({training_key(t.strategy) for t in trials})
    store.close()


def deployed_trial(
    number: int, study: Study, rate: float, runtime: str, **changes: object
) -> Trial:
    """A trial that ran all phases, or with ``source`` only deployed that trial's model."""
    source = changes.pop("source", None)
    strategy = study.baseline.with_values(learning_rate=rate, runtime=runtime)
    metrics = {
        "train_samples_per_second": 100.0, "setup_seconds": 1.0, "train_seconds": 60.0,
        "accuracy": 0.9, "train_samples": 8000.0,
    }  # fmt: skip
    own = {"latency_p50_ms": LATENCIES[runtime], "deployed_accuracy": 0.89, "deploy_seconds": 3.0}
    measurements = {n: replace(m, source=source) for n, m in _measured(metrics).items()}
    model = SavedModel("ab", 10**9) if source is None else None
    result = TrialResult({**measurements, **_measured(own)}, model=model)
    return finished_trial(number, strategy, result=result)


def test_what_a_trial_measured_follows_from_its_sources(serving: Study) -> None:
    first = deployed_trial(0, serving, 4e-4, "torch")
    second = deployed_trial(1, serving, 4e-4, "openvino", source=0)
    assert measured_phases(first) == (Phase.PROFILE, Phase.TRAIN, Phase.DEPLOY)
    assert measured_phases(second) == (Phase.DEPLOY,)
    cache = ResultCache(serving).update([first, second])
    hit = cache.find(first.strategy.with_values(runtime="onnxruntime"), 0)
    assert (hit.train, hit.model, hit.phases_to_run) == (first, first, (Phase.DEPLOY,))
    assert cache.find(second.strategy, 0).phases_to_run == ()
    # A model whose files are lost is trained again by the next deployment.
    again = deployed_trial(2, serving, 4e-4, "openvino")
    hit = (
        ResultCache(serving)
        .update([first, again])
        .find(first.strategy.with_values(runtime="onnxruntime"), 0)
    )
    assert hit.model is again
    without = replace(first, result=replace(first.result, model=None))
    hit = cache.update([without]).find(first.strategy.with_values(runtime="onnxruntime"), 0)
    assert (hit.model, hit.phases_to_run) == (None, (Phase.TRAIN, Phase.DEPLOY))
    confirmation = replace(first, origin=TrialOrigin.CONFIRMATION)
    hit = ResultCache(serving).update([confirmation]).find(first.strategy, 0)
    assert hit.deploy is None and hit.model is None


def test_models_of_the_front_are_kept_first(serving: Study) -> None:
    history = [
        deployed_trial(0, serving, 5e-5, "torch"),
        deployed_trial(1, serving, 4e-4, "torch"),
        deployed_trial(2, serving, 4e-4, "openvino", source=1),
    ]
    ended = {
        models: [t.number for t in unwanted_models(
            replace(serving, keep=Retention(models, gigabytes=5.0)), history, has_ended=True
        )]
        for models in ("front", "all", "none")
    }  # fmt: skip
    assert ended == {"front": [0], "all": [], "none": [0, 1]}
    small = replace(serving, keep=Retention("all", gigabytes=1.5))
    assert [t.number for t in unwanted_models(small, history, has_ended=False)] == [0]
    assert unwanted_models(serving, history, has_ended=False) == []


def test_a_model_that_was_trained_twice_is_kept_once(serving: Study) -> None:
    """Concurrent trials of the front run again alone."""
    history = [deployed_trial(number, serving, 4e-4, "torch") for number in range(2)]
    for has_ended in (False, True):
        unwanted = unwanted_models(serving, history, has_ended=has_ended)
        assert [trial.number for trial in unwanted] == [0]


def test_the_model_that_a_running_trial_deploys_is_kept(serving: Study) -> None:
    """Also if it is not on the front and the disk space is used."""
    first, second = (deployed_trial(n, serving, r, "torch") for n, r in enumerate((5e-5, 4e-4)))
    small = replace(serving, keep=Retention("all", gigabytes=1.5))
    (unwanted,) = unwanted_models(small, [first, second], has_ended=False)
    running = replace(
        unwanted, number=2, state=State.RUNNING, result=TrialResult(),
        strategy=unwanted.strategy.with_values(runtime="openvino"),
    )  # fmt: skip
    assert unwanted not in unwanted_models(small, [first, second, running], has_ended=False)


def test_what_is_recommended_is_kept(serving: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be on the front of the measured values."""
    history = [deployed_trial(n, serving, r, "torch") for n, r in enumerate((5e-5, 4e-4))]
    first, second = history
    slower = replace(first.result.measurements["latency_p50_ms"], value=9.0)
    result = replace(
        second.result, measurements={**second.result.measurements, "latency_p50_ms": slower}
    )
    history[1] = replace(second, result=result)
    assert [t.number for t in unwanted_models(serving, history, has_ended=True)] == [1]
    monkeypatch.setattr(Recommender, "choose", lambda self, goal, members: history[1])
    assert unwanted_models(serving, history, has_ended=True) == []
    assert unwanted_models(serving, history, has_ended=False) == []


def test_pruned_copies_and_graphs_count_against_the_disk_space(
    serving: Study, tmp_path: Path
) -> None:
    """A model of 2,000 bytes, a pruned copy and a graph of 1,000 bytes each."""
    folder = tmp_path / serving.name / "0000"
    graph, copy = folder / f"{MODEL}{GRAPH_CACHE_SUFFIX}", folder / f"{PRUNED}0.5" / "weights"
    saved = write_model(folder, lambda f: _write(f / "weights", bytes(2000)))
    trial = deployed_trial(0, serving, 4e-4, "torch")
    trial = replace(trial, result=replace(trial.result, model=saved))
    running = replace(trial, number=1, state=State.RUNNING, result=TrialResult())
    store = open_store(f"sqlite:///{tmp_path}/s.db")
    store.create_study(serving, {})

    def files(size: int, history: Sequence[Trial], *, has_ended: bool) -> tuple[bool, bool]:
        """Whether the copy and the graph remain with space for ``size`` bytes."""
        copy.parent.mkdir(exist_ok=True)
        _write(copy, bytes(1000))
        _write(graph, bytes(1000))
        study = replace(serving, keep=Retention("front", gigabytes=size / 1e9))
        retention = ModelRetention(study, store, tmp_path)
        retention.enforce(history, has_ended=has_ended)
        assert has_model(folder, saved)
        message = retention.describe(history) or ""
        assert ("1 pruned copy deleted" in message) == (not copy.exists())
        return copy.exists(), graph.exists()

    assert files(4000, [trial], has_ended=False) == (True, True)
    assert files(3000, [trial], has_ended=False) == (True, False)
    assert files(2500, [trial], has_ended=False) == (False, False)
    assert files(2500, [trial, running], has_ended=False) == (True, True)
    assert files(4000, [trial], has_ended=True) == (True, False)
    store.close()


def test_what_a_killed_worker_left_is_deleted_at_the_end(serving: Study, tmp_path: Path) -> None:
    folder = tmp_path / serving.name / "0000"
    write_model(folder, lambda f: _write(f / "weights", b"of no trial"))
    trial = deployed_trial(0, serving, 4e-4, "torch")
    trial = replace(trial, result=replace(trial.result, model=None))
    store = open_store(f"sqlite:///{tmp_path}/s.db")
    retention = ModelRetention(serving, store, tmp_path)
    retention.enforce([trial], has_ended=False)
    assert (folder / MODEL).exists()
    retention.enforce([trial], has_ended=True)
    assert list(folder.iterdir()) == []
    assert retention.describe([trial]) is None
    store.close()


def test_a_deployment_of_a_known_model_costs_seconds(serving: Study) -> None:
    history = [
        deployed_trial(0, serving, 5e-5, "torch"),
        deployed_trial(1, serving, 5e-5, "onnxruntime", source=0),
    ]
    strategies = [
        history[0].strategy.with_values(runtime="openvino"),
        history[0].strategy.with_values(learning_rate=4e-4),
        history[1].strategy,
    ]

    def seconds(trials: Sequence[Trial]) -> list[float]:
        observations = Observations(serving).update(trials)
        posterior = Posterior(observations, Surrogates(serving.space), 8, 0)
        batch = CandidateBatch(strategies, posterior, {phase: set() for phase in Phase})
        assert np.isfinite(batch.metric_samples("latency_p50_ms")).all()  # type: ignore[arg-type]
        return [float(value) for value in batch.expected_seconds()]

    known, new, cached = seconds(history)
    assert known < 20 < 60 <= new and cached == 0
    deleted = replace(history[0], result=replace(history[0].result, model=None))
    again, new, cached = seconds([deleted, history[1]])
    assert again >= 60 and cached == 0


def test_a_stopped_training_counts_against_a_constraint_on_its_deployment(serving: Study) -> None:
    bound = Constraint("deployed_accuracy", ">=", -0.05, relative=True)
    study = replace(serving, constraints=(bound,))
    first = deployed_trial(0, study, float(study.baseline["learning_rate"]), "torch")
    stopped = replace(
        deployed_trial(1, study, 4e-4, "openvino"),
        state=State.PRUNED, reason=f"{bound} holds with a probability of 1%",
        result=TrialResult(_measured({"train_samples_per_second": 1.0})),
    )  # fmt: skip
    observations = Observations(study).update([first, stopped])
    estimates = observations.with_stopped(Phase.DEPLOY, "deployed_accuracy")
    values = [o.values["deployed_accuracy"] for _, o in estimates]
    assert values[0] == 0.89 and values[1] < 0.84


def test_variations_of_good_strategies_include_other_deployments(serving: Study) -> None:
    dimensions = (
        *serving.space.dimensions,
        *(Dimension(f"lever_{index}", Categorical(tuple(range(8)))) for index in range(4)),
    )
    defaults = {**serving.space.defaults, **{f"lever_{index}": 0 for index in range(4)}}
    space = replace(serving.space, dimensions=dimensions, defaults=defaults)
    parent = replace(serving, space=space).baseline.with_values(learning_rate=4e-4)
    candidates = Candidates(space, 0).untried({parent.key}, [parent])
    training = training_key(parent)
    runtimes = {c["runtime"] for c in candidates if training_key(c) == training}
    assert {"onnxruntime", "openvino"} <= runtimes
