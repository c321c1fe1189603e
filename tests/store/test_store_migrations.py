from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from autotune.domain import State, TrialOrigin
from autotune.errors import (
    SchemaOutdatedError,
    SchemaTooNewError,
    StoreUnavailableError,
)
from autotune.store import SchemaStatus, check, open_store, upgrade
from autotune.store.database import Database
from autotune.store.migrations import VERSION_TABLE, revisions
from autotune.store.models import Base
from tests.store.samples import ENVIRONMENT, completed, evidence, strategy, study

ASSETS = Path(__file__).parent / "assets"
REPOSITORY = Path(__file__).parents[2]
HEAD = revisions()[-1]


@pytest.fixture
def old(url: str) -> str:
    """A database as schema 0001 left it: one study with four trials."""
    database = Database(url)
    if database.path is not None:
        connection = sqlite3.connect(database.path)
        connection.executescript((ASSETS / "v0001.sqlite.sql").read_text())
        connection.close()
        return url
    script = (ASSETS / "v0001.postgresql.sql").read_bytes()
    with psycopg.connect(url.replace("+psycopg", "")) as postgres:
        postgres.execute(script)
    return url


def set_revision(url: str, revision: str) -> None:
    database = Database(url)
    with database.transaction(write=True) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
    database.close()


def test_models_are_what_migrations_make(url: str) -> None:
    upgrade(url)
    database = Database(url)
    with database.transaction() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def test_new_database(url: str) -> None:
    assert check(url) == SchemaStatus(None, HEAD, "empty")
    open_store(url).close()
    assert check(url) == SchemaStatus(HEAD, HEAD, "current")
    assert upgrade(url) == SchemaStatus(HEAD, HEAD, "current")


def test_check_makes_no_file(tmp_path: Path) -> None:
    check(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_old_database_is_named_with_the_command_that_mends_it(old: str) -> None:
    assert check(old) == SchemaStatus("0001", HEAD, "outdated")
    with pytest.raises(SchemaOutdatedError, match="schema 0001") as caught:
        open_store(old)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("autotune db upgrade --storage ")
    assert "s3cret" not in str(caught.value) + caught.value.hint


def test_upgrade_keeps_everything(old: str) -> None:
    assert upgrade(old).state == "current"
    store = open_store(old)
    assert store.study("old") == study("old")
    assert store.environment("old") == ENVIRONMENT
    trials, cursor = store.trials_since("old")
    assert [trial.state for trial in trials] == ["complete", "infeasible", "running", "queued"]
    assert [trial.strategy for trial in trials] == [strategy(n) for n in range(4)]
    assert cursor == 4
    first = store.trial("old", 0)
    assert first.result == evidence()
    assert first.seconds == 300.5
    assert store.trial("old", 1).reason == "9 GiB"
    (overview,) = store.studies_overview()
    assert overview.changed_at == datetime(2026, 2, 1, 10, 6, tzinfo=UTC)
    store.close()


def test_upgraded_database_goes_on(old: str) -> None:
    upgrade(old)
    store = open_store(old)
    assert [trial.number for trial in store.interrupt_running("old")] == [2]
    claimed = store.claim_next_queued("old")
    assert claimed is not None
    store.finish("old", claimed.number, completed())
    assert store.start("old", strategy(9), origin=TrialOrigin.SAMPLED, seed=0).number == 4
    trials, _ = store.trials_since("old", 4)
    assert [(t.number, t.state) for t in trials] == [
        (2, State.INTERRUPTED),
        (3, State.COMPLETE),
        (4, State.RUNNING),
    ]
    store.close()


def test_failed_upgrade_changes_nothing(old: str) -> None:
    database = Database(old)
    with database.transaction(write=True) as connection:
        connection.execute(text("CREATE INDEX ix_trials_study_id_revision ON events (kind)"))
    database.close()
    with pytest.raises(StoreUnavailableError, match="ix_trials_study_id_revision"):
        upgrade(old)
    assert check(old).current == "0001"
    with database.transaction() as connection:
        assert connection.scalar(text("SELECT count(*) FROM measurements")) == 3
    database.close()


def test_newer_database_is_left_alone(url: str) -> None:
    open_store(url).close()
    set_revision(url, "9999")
    assert check(url).state == "too new"
    for use in (open_store, upgrade):
        with pytest.raises(SchemaTooNewError) as caught:
            use(url)
        assert caught.value.hint == "pip install --upgrade autotune"
    assert check(url).current == "9999"


def test_database_of_another_program(url: str) -> None:
    database = Database(url, create=True)
    with database.transaction(write=True) as connection:
        connection.execute(text("CREATE TABLE trials (trial_id INTEGER)"))
    database.close()
    with pytest.raises(StoreUnavailableError, match=r"another program.*trials"):
        open_store(url)


def test_revisions_are_the_file_names() -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(REPOSITORY / "alembic"))
    assert [found.revision for found in script.walk_revisions()][::-1] == revisions()


def test_alembic_command_line(sqlite_url: str) -> None:
    command = [sys.executable, "-m", "alembic", "-x", f"url={sqlite_url}", "upgrade", "head"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert check(sqlite_url).state == "current"
