"""The store under faults: errors say what is wrong and what to do, and stored results survive."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, text

from autotune.domain import State, TrialOrigin
from autotune.errors import StoreUnavailableError, UsageError
from autotune.store import SqlStore, check, open_store
from tests.store.postgres_server import PASSWORD, PostgresServer
from tests.store.samples import ENVIRONMENT, completed, strategy, study, trial_result

REPOSITORY = Path(__file__).parents[2]
NOBODY_UID = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "autotune.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    """A SQLite store with one finished trial."""
    store = open_store(f"sqlite:///{path}")
    store.create_study(study("bert"), ENVIRONMENT)
    store.start("bert", strategy(), origin=TrialOrigin.DEFAULT, seed=0)
    store.finish("bert", 0, completed())
    yield store
    store.close()


def is_intact(store: SqlStore) -> bool:
    """Whether the first trial has its complete result, and the file passes its check."""
    with store._database.transaction() as connection:
        passes = connection.scalar(text("PRAGMA integrity_check")) == "ok"
    return passes and store.trial("bert", 0).result == trial_result()


# -------------------------------------------------------------------------------------- files


def test_missing_storage(path: Path) -> None:
    for options in ({"read_only": True}, {"create": False}):
        with pytest.raises(StoreUnavailableError, match="no autotune storage at") as caught:
            open_store(f"sqlite:///{path}", **options)
        assert "autotune search" in str(caught.value.hint)
    assert not path.exists()


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="cannot be opened") as caught:
        open_store(f"sqlite:///{tmp_path}/no/such/a.db")
    assert "directory exists" in str(caught.value.hint)


def test_directory_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        open_store(f"sqlite:///{tmp_path}")


def test_not_a_database(path: Path) -> None:
    path.write_bytes(b"study: bert\n" * 500)
    with pytest.raises(StoreUnavailableError, match="no SQLite database"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == b"study: bert\n" * 500


def test_damaged_pages(store: SqlStore, path: Path) -> None:
    store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StoreUnavailableError, match="is damaged") as caught:
        open_store(f"sqlite:///{path}").trials("bert")
    assert "backup" in str(caught.value.hint)


def test_read_only_file(store: SqlStore, path: Path) -> None:
    store.close()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        with Unprivileged(path), pytest.raises(StoreUnavailableError, match="read-only") as caught:
            open_store(f"sqlite:///{path}").start(
                "bert", strategy(1), origin=TrialOrigin.SAMPLED, seed=0
            )
    finally:
        path.parent.chmod(0o755)
        path.chmod(0o644)
    assert "writable" in str(caught.value.hint)
    assert is_intact(store)


class Unprivileged:
    """Runs as another user if this one is root, to which file permissions do not apply."""

    def __init__(self, path: Path) -> None:
        self.directories = [p for p in path.parents if p.stat().st_uid == 0 and str(p) != "/"]
        self.modes = {p: p.stat().st_mode for p in self.directories}
        self.user = os.geteuid()

    def __enter__(self) -> None:
        if self.user == 0:
            for directory, mode in self.modes.items():
                directory.chmod(mode | 0o055)
            os.seteuid(NOBODY_UID)

    def __exit__(self, *_: object) -> None:
        if self.user == 0:
            os.seteuid(0)
            for directory, mode in self.modes.items():
                directory.chmod(mode)


def test_full_disk_loses_no_stored_result(store: SqlStore) -> None:
    store.start("bert", strategy(1), origin=TrialOrigin.SAMPLED, seed=0)
    store.close()
    limit = {"pages": 1}

    @event.listens_for(store._database.engine, "connect")
    def shrink(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {limit['pages']}")

    with pytest.raises(StoreUnavailableError, match="disk is full"):
        for _ in range(100):
            store.enqueue("bert", strategy(2), origin=TrialOrigin.SAMPLED, seed=0)
            store.finish("bert", 1, completed())
            store.record_environment("bert", {"large": "x" * 50_000})
    assert is_intact(store)
    limit["pages"] = 1_000_000
    store.close()
    assert store.finish("bert", 1, completed()).result == trial_result()


def test_locked_by_another_program(store: SqlStore, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with store._database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    with pytest.raises(StoreUnavailableError, match="was locked"):
        store.start("bert", strategy(1), origin=TrialOrigin.SAMPLED, seed=0)
    assert is_intact(store)
    other.close()


# ------------------------------------------------------------------------------------ readers


def test_reader_cannot_write(store: SqlStore, path: Path) -> None:
    reader = open_store(f"sqlite:///{path}", read_only=True)
    with pytest.raises(StoreUnavailableError, match="for reading only"):
        reader.start("bert", strategy(1), origin=TrialOrigin.SAMPLED, seed=0)
    with (
        pytest.raises(StoreUnavailableError, match="read-only"),
        reader._database.transaction() as connection,
    ):
        connection.execute(text("DELETE FROM trials"))
    assert is_intact(store)
    reader.close()


def test_postgresql_reader_cannot_write(postgres_url: str) -> None:
    open_store(postgres_url).close()
    reader = open_store(postgres_url, read_only=True)
    with (
        pytest.raises(StoreUnavailableError, match="read-only transaction"),
        reader._database.transaction() as connection,
    ):
        connection.execute(text("DELETE FROM trials"))
    reader.close()


def test_open_reader_blocks_no_writer_and_sees_one_snapshot(url: str) -> None:
    writer = open_store(url)
    writer.create_study(study("bert"), {})
    reader = open_store(url, read_only=True)
    count = text("SELECT count(*) FROM trials")
    with reader._database.transaction() as connection:
        assert connection.scalar(count) == 0
        for index in range(20):
            writer.start("bert", strategy(index), origin=TrialOrigin.SAMPLED, seed=0)
            writer.finish("bert", index, completed())
        assert connection.scalar(count) == 0
    assert len(reader.trials("bert", states=[State.COMPLETE])) == 20
    reader.close()
    writer.close()


# -------------------------------------------------------------------------------------- kills

WRITER = """
import sys
from autotune.store import open_store
from autotune.domain import TrialOrigin
from tests.store.samples import completed, strategy
store = open_store(sys.argv[1])
while True:
    number = store.start("bert", strategy(), origin=TrialOrigin.SAMPLED, seed=0).number
    store.finish("bert", number, completed())
    print(number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 12])
def test_killed_writer_loses_no_finished_trial(url: str, lines: int) -> None:
    store = open_store(url)
    store.create_study(study("bert"), {})
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, url], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        reported = [int(process.stdout.readline()) for _ in range(lines)]
        time.sleep(0.003 * lines)
        process.kill()
        reported += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    store.interrupt_running("bert")
    trials = [store.trial("bert", trial.number) for trial in store.trials("bert")]
    assert [trial.number for trial in trials] == list(range(len(trials)))
    complete = {trial.number for trial in trials if trial.state == State.COMPLETE}
    assert set(reported) <= complete
    assert all(trials[number].result == trial_result() for number in complete)
    assert {t.number for t in trials} - complete <= {len(trials) - 1}
    store.close()


# ------------------------------------------------------------------------------------ servers


def test_wrong_password_is_masked(postgres_server: PostgresServer) -> None:
    with pytest.raises(StoreUnavailableError, match="password authentication failed") as caught:
        open_store(postgres_server.url("postgres", password="wrong-pass"))
    assert "wrong-pass" not in f"{caught.value} {caught.value.hint}"
    assert "***" in str(caught.value)


def test_missing_database(postgres_server: PostgresServer) -> None:
    with pytest.raises(StoreUnavailableError, match=r"nowhere.*does not exist") as caught:
        open_store(postgres_server.url("nowhere"))
    assert PASSWORD not in str(caught.value)
    assert "createdb" in str(caught.value.hint)


def test_server_that_is_down() -> None:
    with pytest.raises(StoreUnavailableError, match="refused"):
        check("postgresql://u:secret@127.0.0.1:9/autotune")


def test_server_that_comes_back(postgres_server: PostgresServer, postgres_url: str) -> None:
    store = open_store(postgres_url)
    store.create_study(study("bert"), {})
    store.start("bert", strategy(), origin=TrialOrigin.DEFAULT, seed=0)
    postgres_server.stop()
    try:
        with pytest.raises(StoreUnavailableError):
            store.finish("bert", 0, completed())
    finally:
        postgres_server.start()
    store.finish("bert", 0, completed())
    assert store.trial("bert", 0).result == trial_result()
    store.close()
