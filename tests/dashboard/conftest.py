"""Stores with studies in every condition, and the dashboard over them."""

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

from autotune.domain import Constraint, FailureReason, Infeasible, Study, Trial  # noqa: E402, FailureReason
from autotune.store import open_store  # noqa: E402
from dashboard import exporting, settings  # noqa: E402

KINDS = ("empty", "running", "complete", "infeasible", "single", "many")
FIVE = (
    samples.SPEED, samples.ACCURACY, samples.COST, samples.MEMORY, "inference_latency_ms",
)  # fmt: skip


def fill(url: str) -> None:
    """One study of each kind, under its name."""
    store = open_store(url)
    for kind in KINDS:
        metrics = {"single": (samples.SPEED,), "many": FIVE}.get(kind, FIVE[:3])
        asked = samples.study(kind, metrics, trials=48)
        if kind == "single":
            asked = replace(asked, constraints=())
        if kind == "infeasible":
            asked = replace(asked, constraints=(Constraint(samples.ACCURACY, ">=", 2.0),))
        made = _made(kind, asked)
        if kind == "infeasible":
            reason = Infeasible(FailureReason.OUT_OF_MEMORY, "needs 9.1 GiB, the limit is 2.4 GiB")
            made[4:] = [t.finished(reason, t.finished_at or samples.START) for t in made[4:]]
        if kind == "complete":
            made += [samples.confirming(made[0], len(made) + i, seed=7 + i) for i in range(2)]
            made += [samples.sharing(made[0], len(made))]
            made += samples.skipped(made[0], len(made))
        samples.write(store, asked, made)
    store.close()


def _made(kind: str, asked: Study) -> list[Trial]:
    if kind == "empty":
        return []
    count = {"infeasible": 12, "complete": 40}.get(kind, 24)
    return list(samples.trials(asked, count, running=2 if kind == "running" else 0))


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'studies.db'}"
    fill(url)
    return url


@pytest.fixture
def opened(storage: str) -> str:
    """The dashboard of this process reads the prepared store. What is cached is cached by storage,
    and stays for the next test."""
    exporting.exported.clear()
    settings.configure(settings.Settings(storage))
    return storage
