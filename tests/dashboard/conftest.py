"""A store with every kind of study, and the dashboard that reads it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.append(str(ROOT / "benchmarks"))  # last: it too has a module called dashboard

import sample_studies as samples  # noqa: E402
from browsing import browser, page  # noqa: E402, F401 - fixtures

from autotune.domain import Constraint, FailureReason, Infeasible, Study, Trial  # noqa: E402
from autotune.store import open_store  # noqa: E402
from dashboard import exporting, settings  # noqa: E402

KINDS = ("empty", "running", "complete", "infeasible", "single", "many")
METRICS = (
    samples.SPEED, samples.ACCURACY, samples.COST, samples.MEMORY, "inference_latency_ms",
)  # fmt: skip


def fill(url: str) -> None:
    """One study of each kind, under its name."""
    store = open_store(url)
    for kind in KINDS:
        metrics = {"single": (samples.SPEED,), "many": METRICS}.get(kind, METRICS[:3])
        study = samples.study(kind, metrics, trials=48)
        if kind == "single":
            study = replace(study, constraints=())
        if kind == "infeasible":
            study = replace(study, constraints=(Constraint(samples.ACCURACY, ">=", 2.0),))
        trials = _trials(kind, study)
        if kind == "infeasible":
            reason = Infeasible(FailureReason.OUT_OF_MEMORY, "needs 9.1 GiB, the limit is 2.4 GiB")
            trials[4:] = [t.finish(reason, t.finished_at or samples.START) for t in trials[4:]]
        if kind == "complete":
            trials += [samples.confirming(trials[0], len(trials) + i, seed=7 + i) for i in range(2)]
            trials += [samples.sharing(trials[0], len(trials))]
            trials += samples.skipped(trials[0], len(trials))
        samples.write(store, study, trials)
    store.close()


def _trials(kind: str, study: Study) -> list[Trial]:
    if kind == "empty":
        return []
    count = {"infeasible": 12, "complete": 40}.get(kind, 24)
    return list(samples.trials(study, count, running=2 if kind == "running" else 0))


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'studies.db'}"
    fill(url)
    return url


@pytest.fixture
def opened(storage: str) -> str:
    """Make the dashboard of this process read the prepared store. Its caches are by storage and
    serve the next test too."""
    exporting.export_trial.clear()
    settings.configure(settings.Settings(storage))
    return storage
