"""``task.train_samples: auto``: the number of samples follows from the budget, once for a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.domain import Budget, Study
from autotune.store import SqlStore
from autotune.tuner import fidelity
from autotune.tuner.fidelity import adopt_samples, choose_samples
from autotune.tuner.probe import DefaultProfile
from tests.tuner.small_study import InlineExecutor


@pytest.fixture
def auto(study: Study, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study of 15 minutes whose default takes 310 s on 30,000 samples."""

    def profile(*arguments: object) -> DefaultProfile:
        return DefaultProfile(310.0, 300.0, 30_000)

    monkeypatch.setattr(fidelity, "profile_default", profile)
    spec = {"task": {"train_samples": "auto"}}
    return replace(study, spec=spec, budget=Budget(minutes=15))


def test_the_number_follows_from_the_budget(auto: Study, tmp_path: Path) -> None:
    chosen, (note,) = choose_samples(auto, InlineExecutor(), tmp_path)
    samples = chosen.task.train_samples
    assert samples is not None and 5000 < samples < 10_000
    assert f"{samples:,} of 30,000 samples" in note


def test_a_continued_study_keeps_the_number(auto: Study, store: SqlStore, tmp_path: Path) -> None:
    assert adopt_samples(store, auto) == auto, "not stored yet"
    chosen, _ = choose_samples(auto, InlineExecutor(), tmp_path)
    store.create_study(chosen, {})
    longer = replace(auto, budget=Budget(minutes=60))
    continued = adopt_samples(store, longer)
    assert continued.task == chosen.task and continued.budget.minutes == 60
    assert choose_samples(continued, InlineExecutor(), tmp_path) == (continued, ())


def test_a_number_in_the_file_is_not_changed(study: Study, store: SqlStore, tmp_path: Path) -> None:
    assert choose_samples(study, InlineExecutor(), tmp_path) == (study, ())
    assert adopt_samples(store, study) == study
