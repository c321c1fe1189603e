"""Stores with studies in every condition, and the dashboard over them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.append(str(ROOT / "benchmarks"))  # last: it too has a module called dashboard

import sample_studies as samples  # noqa: E402

from autotune.domain import Constraint, Infeasible, Study, Trial  # noqa: E402
from autotune.store import open_store  # noqa: E402
from dashboard import settings  # noqa: E402

KINDS = ("empty", "running", "complete", "infeasible", "single", "many")
FOUR = (samples.SPEED, samples.ACCURACY, samples.COST, samples.MEMORY)


def fill(url: str) -> None:
    """One study of each kind, under its name."""
    store = open_store(url)
    for kind in KINDS:
        metrics = {"single": (samples.SPEED,), "many": FOUR}.get(kind, FOUR[:3])
        asked = samples.study(kind, metrics, trials=48)
        if kind == "single":
            asked = replace(asked, constraints=())
        if kind == "infeasible":
            asked = replace(asked, constraints=(Constraint(samples.ACCURACY, ">=", 2.0),))
        made = _made(kind, asked)
        if kind == "infeasible":
            reason = Infeasible("out_of_memory", "needs 9.1 GiB, the limit is 2.4 GiB")
            made[4:] = [t.finished(reason, t.finished_at or samples.START) for t in made[4:]]
        if kind == "complete":
            made.append(samples.confirming(made[0], len(made), seed=7))
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
def opened(storage: str) -> Iterator[str]:
    """The dashboard of this process reads the prepared store."""
    st.cache_resource.clear()
    st.cache_data.clear()
    settings.configure(settings.Settings(storage))
    yield storage
    st.cache_resource.clear()
