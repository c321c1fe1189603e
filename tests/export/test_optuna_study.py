"""A study as Optuna reads it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autotune.domain import State
from autotune.errors import StoreError, StoreUnavailableError, UsageError
from autotune.export.optuna_study import write_study
from benchmarks import sample_studies


def test_every_finished_trial_is_there(tmp_path: Path) -> None:
    asked = sample_studies.study("sample")
    made = list(sample_studies.trials(asked, 30, seed=3))
    made.append(replace(made[1], number=30, state=State.FAILED, reason="disk full"))
    made.append(replace(made[2], number=31, state=State.RUNNING))
    url = f"sqlite:///{tmp_path / 'o.db'}"
    assert write_study(asked, made, url) == 31
    read = optuna.load_study(study_name="sample", storage=url)
    assert [d.name.lower() for d in read.directions] == [o.direction for o in asked.objectives]
    by_number = {trial.user_attrs["trial"]: trial for trial in read.trials}
    for trial in made[:30]:
        copy = by_number[trial.number]
        if trial.state is State.COMPLETE:
            assert copy.values == [trial.metric(o.metric) for o in asked.objectives]
        for dimension in asked.space.dimensions:
            assert copy.params[dimension.lever] == trial.strategy[dimension.lever]
    assert by_number[30].state is TrialState.FAIL
    assert by_number[30].user_attrs["reason"] == "disk full"
    assert 31 not in by_number
    assert read.best_trials


def test_a_study_is_not_written_twice(tmp_path: Path) -> None:
    asked = sample_studies.study("sample")
    made = list(sample_studies.trials(asked, 5))
    url = f"sqlite:///{tmp_path / 'o.db'}"
    write_study(asked, made, url)
    with pytest.raises(UsageError, match="already has a study sample"):
        write_study(asked, made, url)


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////no/such/folder/o.db"])
def test_a_database_that_cannot_be_written(url: str) -> None:
    asked = sample_studies.study("sample")
    with pytest.raises(StoreError, match="cannot write"):
        write_study(asked, [], url)


def test_field_a_database_of_another_program_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE thesis (page TEXT)")
    with pytest.raises(UsageError, match="tables of another program"):
        write_study(sample_studies.study("sample"), [], f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("thesis",)]


def test_field_a_password_is_not_printed() -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        write_study(sample_studies.study("sample"), [], "postgresql://u:S3CR@ET@localhost:1/x")
    assert "S3CR" not in str(caught.value) and "ET" not in str(caught.value)
