"""A search with replicates that is killed and resumed runs what an uninterrupted one runs."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from autotune.domain import (
    Budget,
    Completed,
    Constraint,
    Job,
    Measurement,
    Outcome,
    SamplerConfig,
    State,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.execution.replay.executor import SimulatedClock
from autotune.levers import training_key
from autotune.ports import Ask, Evaluate, Report, ShouldStop, Tell
from autotune.store import open_store
from autotune.tuner.samplers.registry import make_sampler
from autotune.tuner.tuner import make_tuner
from tests.tuner.small_study import HOST, InlineExecutor, RecordingObserver, measure

EXAMPLES, TRAIN_SAMPLES = 1000, 2000


class DriverKilledError(Exception):
    """Ends a session in the middle of a trial, of which nothing is stored."""


class SimulatedExecutor(InlineExecutor):
    """Runs jobs in simulated time. The driver is killed in the first run of every job, except for
    those in ``survived``; ``None`` kills none."""

    def __init__(self, clock: SimulatedClock, survived: set[tuple[str, int]] | None) -> None:
        super().__init__()
        self.clock: SimulatedClock = clock
        self._survived = survived

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        while (job := ask()) is not None:
            run = job.strategy.key, job.seed
            if self._survived is not None and run not in self._survived:
                self._survived.add(run)
                self.clock.seconds += 1.0
                raise DriverKilledError
            outcome = evaluate(job, lambda point: None)
            self.clock.seconds += outcome.result.measurements["train_seconds"].value
            tell(job, outcome)


def train(job: Job, report: Report) -> Outcome:
    """The accuracy depends on the seed."""
    del report
    digest = hashlib.sha256(f"{training_key(job.strategy)} {job.seed}".encode()).digest()
    values = measure(job.strategy)
    speed = values["train_samples_per_second"]
    accuracy = values["accuracy"] + 0.02 * (digest[0] / 255 - 0.5)
    half = 1.96 * (accuracy * (1 - accuracy) / EXAMPLES) ** 0.5
    metrics = (
        Measurement("train_samples_per_second", speed, "x", 9, (0.99 * speed, 1.01 * speed)),
        Measurement("accuracy", accuracy, "x", EXAMPLES, (accuracy - half, accuracy + half)),
        Measurement("train_seconds", TRAIN_SAMPLES / speed, "s"),
    )
    return Completed(TrialResult({metric.name: metric for metric in metrics}))


def search(study: Study, folder: Path, *, is_killed: bool) -> list[Trial]:
    """All trials of a search; ``is_killed``: in the middle of each trial, and resumed each time."""
    folder.mkdir()
    clock = SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC))
    store = open_store(f"sqlite:///{folder}/s.db", clock=clock)
    store.create_study(study, {})
    survived: set[tuple[str, int]] | None = set() if is_killed else None
    while True:
        tuner = make_tuner(
            study, store, make_sampler(study), SimulatedExecutor(clock, survived), HOST,
            directory=folder, observer=RecordingObserver(), clock=clock,
        )  # fmt: skip
        try:
            tuner.run(train)
            break
        except DriverKilledError:
            store.interrupt_running(study.name)
    trials = store.trials(study.name)
    store.close()
    return trials


def test_a_search_killed_in_each_trial_runs_the_same_trials(study: Study, tmp_path: Path) -> None:
    study = replace(
        study,
        constraints=(Constraint("accuracy", ">=", -0.02, relative=True),),
        sampler=SamplerConfig("qmc", 0),  # its proposals do not depend on interrupted trials
        budget=Budget(trials=16),
    )
    expected = search(study, tmp_path / "uninterrupted", is_killed=False)
    replicated = {t.strategy for t in expected if t.origin is TrialOrigin.REPLICATE}
    assert len(replicated) > 1, "a strategy and the default"
    trials = search(study, tmp_path / "killed", is_killed=True)
    finished = [trial for trial in trials if trial.state is not State.INTERRUPTED]
    assert len(trials) == 2 * len(finished)
    assert [_content(trial) for trial in finished] == [_content(trial) for trial in expected]


def _content(trial: Trial) -> tuple[object, ...]:
    """What is stored of a trial, except for its time of day and for whether it is a retry."""
    is_replicate = trial.origin is TrialOrigin.REPLICATE
    return trial.strategy, trial.seed, is_replicate, trial.state, trial.metrics, trial.seconds
