"""The store after what happens in the field: clocks that jump, links, damaged rows and journals."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from autotune.analysis.budget import busy_seconds
from autotune.domain import Failed, FailureReason, State, TrialOrigin, digest
from autotune.domain.clock import monotonic_seconds, utc_now
from autotune.errors import DamagedStudyError, UsageError
from autotune.store import SqlStore, open_driver_store, open_store
from tests.store.samples import completed, strategy, study

THREE_DAYS = timedelta(days=3)


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    store = open_store(url)
    store.create_study(study("bert"), {})
    yield store
    store.close()


@pytest.mark.parametrize("jump", [THREE_DAYS, -THREE_DAYS])
def test_field_a_duration_does_not_follow_the_clock(store: SqlStore, jump: timedelta) -> None:
    trial = store.start("bert", strategy(), origin=TrialOrigin.DEFAULT, seed=0)
    store._now = lambda connection: datetime.now(UTC) + jump
    ended = store.finish("bert", trial.number, completed())
    assert ended.seconds is not None and 0.0 <= ended.seconds < 60.0


def test_field_a_clock_that_is_set_back_between_sessions_loses_no_time(url: str) -> None:
    noon, minutes = datetime(2026, 5, 1, 12, tzinfo=UTC), timedelta(minutes=10)
    for start in (noon, noon - timedelta(hours=2)):
        times = [start]
        store = open_store(url, clock=partial(times.__getitem__, -1))
        if start == noon:
            store.create_study(study("bert"), {})
        for _ in range(2):
            trial = store.start("bert", strategy(), origin=TrialOrigin.DEFAULT, seed=0)
            times.append(times[-1] + minutes)
            store.finish("bert", trial.number, completed())
        trials = store.trials("bert")
        store.close()
    assert [trial.seconds for trial in trials] == [600.0] * 4
    assert busy_seconds(trials) == 2400.0


def test_field_the_time_until_a_resume_is_no_time_of_the_search(store: SqlStore) -> None:
    store.start("bert", strategy(), origin=TrialOrigin.DEFAULT, seed=0)
    store._now = lambda connection: datetime.now(UTC) + timedelta(minutes=2)
    store.heartbeat("bert")
    store._now = lambda connection: datetime.now(UTC) + timedelta(hours=8)
    (lost,) = store.interrupt_running("bert")
    assert lost.state is State.INTERRUPTED
    assert lost.seconds is not None and 119 < lost.seconds < 180


def test_field_the_clock_of_a_process_is_monotonic(monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs(utc_now() - datetime.now(UTC)) < timedelta(hours=1)
    seconds, before = monotonic_seconds(), utc_now()
    monkeypatch.setattr("autotune.domain.clock.monotonic_seconds", lambda: seconds + 100.0)
    assert 99.0 < (utc_now() - before).total_seconds() <= 100.0


def test_field_a_link_to_the_database_is_the_same_database(tmp_path: Path) -> None:
    path, link = tmp_path / "autotune.db", tmp_path / "other" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    one, two = open_store(f"sqlite:///{path}"), open_store(f"sqlite:///{link}")
    one.create_study(study("bert"), {})
    with (
        one.acquire_driver("bert"),
        pytest.raises(UsageError, match="already driven"),
        two.acquire_driver("bert"),
    ):
        pass
    one.close()
    two.close()


def set_column(store: SqlStore, table: str, column: str, value: str) -> None:
    query = text(f"UPDATE {table} SET {column} = :value WHERE id = 1")
    with store._database.transaction(write=True) as connection:
        connection.execute(query, {"value": value})


@pytest.mark.parametrize("column", ["state", "origin", "failure"])
def test_field_a_row_with_an_unknown_name_blocks_its_study_alone(
    store: SqlStore, column: str
) -> None:
    store.create_study(study("other"), {})
    for name in ("bert", "other"):
        store.start(name, strategy(), origin=TrialOrigin.DEFAULT, seed=0)
    set_column(store, "trials", column, "quantum")
    with pytest.raises(DamagedStudyError, match=r"trial 0 .*'quantum'"):
        store.trials("bert")
    assert len(store.trials("other")) == 1
    overviews = {overview.study.name: overview for overview in store.studies_overview()}
    assert overviews["other"].counts == {State.RUNNING: 1}
    assert overviews["bert"].counts == ({} if column == "state" else {State.RUNNING: 1})


def test_field_a_damaged_study_is_left_out_of_lists(
    store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.create_study(study("other"), {})
    set_column(store, "studies", "study", '{"name": 1}')
    with caplog.at_level(logging.WARNING):
        assert [overview.study.name for overview in store.studies_overview()] == ["other"]
    assert "study bert cannot be read" in caplog.text
    with pytest.raises(DamagedStudyError, match="study bert cannot be read"):
        store.study("bert")


def test_field_a_damaged_journal_is_set_aside(postgres_url: str, tmp_path: Path) -> None:
    store = open_store(postgres_url)
    store.create_study(study("bert"), {})
    for _ in range(2):
        store.start("bert", strategy(), origin=TrialOrigin.SAMPLED, seed=0)
    outcome = {"outcome": "Failed", "fields": {"failure": "error", "reason": "broke"}}
    good = json.dumps({"study": "bert", "number": 0, **outcome}).encode() + b"\n"
    damage = b'{"study": "bert", "num\xff\xfe\n'
    path = tmp_path / f"{digest(str(store))}-{digest('driver')}.jsonl"
    path.write_bytes(damage + good)
    driver = open_driver_store(postgres_url, tmp_path)
    assert not path.exists()
    assert path.with_suffix(".damaged").read_bytes() == damage
    first, second = driver.trials("bert")
    assert (first.state, first.reason) == (State.FAILED, "broke")
    assert second.state is State.RUNNING
    driver.close()
    open_driver_store(postgres_url, tmp_path).close()
    store.finish("bert", 1, Failed(FailureReason.ERROR, "x"))
    store.close()


def test_field_a_study_is_deleted_with_its_trials(store: SqlStore) -> None:
    store.create_study(study("other"), {})
    for name in ("bert", "other"):
        store.start(name, strategy(), origin=TrialOrigin.DEFAULT, seed=0)
        store.finish(name, 0, completed())
    assert store.delete_study("bert") == 1
    assert store.studies() == ["other"]
    assert store.trial("other", 0).result.curve
    for table in ("trials", "measurements", "curve_points"):
        with store._database.transaction() as connection:
            keys = connection.scalar(text(f"SELECT count(*) FROM {table}"))
        assert keys is not None and keys > 0, "those of the other study are kept"
    store.create_study(study("bert"), {})
    assert store.trials("bert") == []


def test_field_a_running_study_is_not_deleted(store: SqlStore, url: str) -> None:
    store.start("bert", strategy(), origin=TrialOrigin.DEFAULT, seed=0)
    other = open_store(url)
    with store.acquire_driver("bert"), pytest.raises(UsageError, match=r"driven|searched"):
        other.delete_study("bert")
    assert len(store.trials("bert")) == 1
    other.close()
