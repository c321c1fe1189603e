from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text
from typer.testing import CliRunner

from autotune.cli.app import app
from autotune.domain import (
    Budget,
    Correctness,
    FailureReason,
    SavedModel,
    SearchState,
    SearchStatus,
    State,
    TrialOrigin,
)
from autotune.domain.result import CONCURRENT_TRIALS
from autotune.errors import (
    SchemaOutdatedError,
    SchemaTooNewError,
    StoreUnavailableError,
)
from autotune.store import SchemaStatus, check, open_store, upgrade
from autotune.store.database import Database
from autotune.store.migrations import VERSION_TABLE, revisions
from autotune.store.models import Base, EnvironmentRow
from autotune.store.queue import SubmissionQueue
from tests.store.samples import ENVIRONMENT, completed, strategy, study, trial_result

ASSETS = Path(__file__).parent / "assets"
REPOSITORY = Path(__file__).parents[2]
HEAD = revisions()[-1]


def restore(url: str, version: str) -> str:
    """Fill the empty database at ``url`` with the preserved one of schema ``version``."""
    database = Database(url)
    if database.path is not None:
        connection = sqlite3.connect(database.path)
        connection.executescript((ASSETS / f"v{version}.sqlite.sql").read_text())
        connection.close()
        return url
    script = (ASSETS / f"v{version}.postgresql.sql").read_bytes()
    with psycopg.connect(url.replace("+psycopg", "")) as postgres:
        postgres.execute(script)
    return url


@pytest.fixture
def v0001(url: str) -> str:
    """A database of schema 0001: one study with four trials."""
    return restore(url, "0001")


@pytest.fixture
def v0002(url: str) -> str:
    """A database of schema 0002: one study with a trial of every origin, and one queued."""
    return restore(url, "0002")


@pytest.fixture
def v0003(url: str) -> str:
    """A database of schema 0003, with the same study."""
    return restore(url, "0003")


@pytest.fixture
def v0004(url: str) -> str:
    """A database of schema 0004, with the same study and the correctness of a confirmation."""
    return restore(url, "0004")


@pytest.fixture
def v0005(url: str) -> str:
    """A database of schema 0005, with the same study and the tables of the service."""
    return restore(url, "0005")


@pytest.fixture
def v0006(url: str) -> str:
    """A database of schema 0006, with the same study and the table of models."""
    return restore(url, "0006")


def set_revision(url: str, revision: str) -> None:
    database = Database(url)
    with database.transaction(write=True) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
    database.close()


def test_migrations_create_the_schema_of_the_models(url: str) -> None:
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


def test_check_creates_no_file(tmp_path: Path) -> None:
    check(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_outdated_database_is_refused_with_the_upgrade_command(v0001: str) -> None:
    assert check(v0001) == SchemaStatus("0001", HEAD, "outdated")
    with pytest.raises(SchemaOutdatedError, match="schema 0001") as caught:
        open_store(v0001)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("autotune db upgrade --storage ")
    assert "s3cret" not in str(caught.value) + caught.value.hint


def test_upgrade_keeps_everything(v0001: str) -> None:
    assert upgrade(v0001).state == "current"
    store = open_store(v0001)
    assert store.study("old") == study("old")
    assert store.environment("old") == ENVIRONMENT
    trials, cursor = store.trials_since("old")
    assert [trial.state for trial in trials] == ["complete", "infeasible", "running", "queued"]
    assert [trial.strategy for trial in trials] == [strategy(n) for n in range(4)]
    assert cursor == 4
    first, expected = store.trial("old", 0), trial_result()
    accuracy = replace(expected.measurements["accuracy"], samples=())  # scores had none
    measurements = {**expected.measurements, "accuracy": accuracy}
    assert first.result == replace(expected, measurements=measurements, correctness=None)
    assert first.seconds == 300.5
    assert store.trial("old", 1).reason == "9 GiB"
    (overview,) = store.studies_overview()
    assert overview.changed_at == datetime(2026, 2, 1, 10, 6, tzinfo=UTC)
    store.close()


def test_upgraded_database_can_be_continued(v0001: str) -> None:
    upgrade(v0001)
    store = open_store(v0001)
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


ORIGINS = [
    TrialOrigin.DEFAULT,
    TrialOrigin.ENQUEUED,
    TrialOrigin.SAMPLED,
    TrialOrigin.SAMPLED,
    TrialOrigin.RETRY,
    TrialOrigin.ISOLATED_RERUN,
    TrialOrigin.IMPORTED,
    TrialOrigin.TRANSFERRED,
    TrialOrigin.SAMPLED,
    TrialOrigin.CONFIRMATION,
    TrialOrigin.SAMPLED,
    TrialOrigin.RETRY,
]


def test_upgrade_renames_origins_and_failures(v0002: str) -> None:
    upgrade(v0002)
    store = open_store(v0002)
    trials = store.trials("words")
    assert [trial.origin for trial in trials] == ORIGINS
    failures = {trial.number: trial.failure for trial in trials if trial.failure is not None}
    assert failures == {8: FailureReason.OUT_OF_MEMORY, 10: FailureReason.ERROR}
    store.close()


def test_upgrade_renames_keys_of_documents(v0002: str) -> None:
    upgrade(v0002)
    store = open_store(v0002)
    words = store.study("words")
    assert words.budget == Budget(trials=24, minutes=10.0, patience=6)
    assert words.spec["budget"] == {"trials": 24, "minutes": 10.0, "without_gain": 6}
    hardware = store.environment("words")["hardware"]
    assert hardware["num_nodes"] == 3 and "machines" not in hardware
    environment = store.trial("words", 2).result.environment
    assert environment[CONCURRENT_TRIALS] == 2
    assert [
        n for n in range(12) if CONCURRENT_TRIALS in store.trial("words", n).result.environment
    ] == [2]
    numbers = {name: environment[name] for name in ("threads", "scale", "tiny", "huge")}
    assert repr(numbers) == "{'threads': 1, 'scale': 1.0, 'tiny': 1e-05, 'huge': 1e+16}"
    store.close()


def test_upgrade_renames_phases_of_events(v0002: str) -> None:
    upgrade(v0002)
    store = open_store(v0002)
    messages = [e.message for e in store.trial("words", 0).result.events if e.kind == "phase"]
    names = ["1 devices", "2 data", "3 setup", "4 profile", "5 train", "6 evaluate", "7 record"]
    seconds = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    assert messages[::2] == [f"{name} begins" for name in names]
    assert messages[1::2] == [
        f"{name} took {s:.3f} s" for name, s in zip(names, seconds, strict=True)
    ]
    (other,) = store.trial("words", 10).result.events
    assert other.message == "4 probe took no phase"
    store.close()


def test_upgrade_changes_no_figure(v0002: str) -> None:
    database = Database(v0002)
    before = figures(database)
    upgrade(v0002)
    assert figures(database) == before
    database.close()


def test_upgrade_adds_the_correctness_of_trials(v0003: str) -> None:
    database = Database(v0003)
    before = figures(database)
    upgrade(v0003)
    assert figures(database) == before
    database.close()
    store = open_store(v0003)
    (confirmation,) = (t for t in store.trials("words") if t.is_confirmation)
    assert confirmation.result.correctness is None
    assert store.trial("words", confirmation.number).result.correctness is None
    running = store.start("words", strategy(9), origin=TrialOrigin.CONFIRMATION, seed=1)
    store.finish("words", running.number, completed())
    assert store.trial("words", running.number).result == trial_result()
    store.close()


def test_upgrade_adds_the_tables_of_the_service(v0004: str) -> None:
    database = Database(v0004)
    before = figures(database)
    upgrade(v0004)
    assert figures(database) == before
    database.close()
    store = open_store(v0004)
    (confirmation,) = (t for t in store.trials("words") if t.is_confirmation)
    assert confirmation.result.correctness == Correctness("abcd", 8, "qg==")
    store.close()
    queue = SubmissionQueue(v0004)
    queue.submit("words", owner="me", text="study: words\n")
    claimed = queue.claim("driver")
    assert claimed is not None and claimed.study == "words"
    queue.close()


def test_upgrade_adds_the_table_of_models(v0005: str) -> None:
    database = Database(v0005)
    before = figures(database)
    upgrade(v0005)
    assert figures(database) == before
    database.close()
    store = open_store(v0005)
    assert all(trial.result.model is None for trial in store.trials("words"))
    running = store.start("words", strategy(9), origin=TrialOrigin.SAMPLED, seed=0)
    model = SavedModel("ab" * 32, 5_000_000_000)
    result = replace(trial_result(), model=model)
    store.finish("words", running.number, replace(completed(), result=result))
    assert store.trial("words", running.number).result.model == model
    assert store.trials("words")[-1].result.model == model
    cursor = store.trials_since("words")[1]
    store.forget_model("words", running.number)
    store.forget_model("words", running.number)
    (changed,) = store.trials_since("words", cursor)[0]
    assert changed.number == running.number and changed.result.model is None
    assert store.trial("words", running.number).result == trial_result()
    store.close()


def test_upgrade_adds_the_status_of_a_search(v0006: str) -> None:
    database = Database(v0006)
    before = figures(database)
    upgrade(v0006)
    assert figures(database) == before
    database.close()
    store = open_store(v0006)
    (overview,) = store.studies_overview()
    assert overview.search is None and store.search_status("words") is None
    ended = SearchStatus(SearchState.STOPPED, "interrupted")
    store.record_search("words", ended)
    assert store.search_status("words") == ended
    store.close()


def figures(database: Database) -> list[tuple[Any, ...]]:
    """Every measurement, learning curve and memory timeline that is stored."""
    tables = ("measurements", "curve_points", "memory_timelines")
    with database.transaction() as connection:
        rows = [connection.execute(text(f"SELECT * FROM {table}")).all() for table in tables]
    assert all(rows)
    return sorted((repr(tuple(row)),) for table in rows for row in table)


def test_large_tables_are_upgraded_in_batches(v0002: str) -> None:
    copies = 1300
    database = Database(v0002)
    with database.transaction(write=True) as connection:
        connection.execute(
            text(
                "INSERT INTO environments (id, study_id, recorded_at, document)"
                " SELECT :id, study_id, recorded_at, document FROM environments WHERE id = 1"
            ),
            [{"id": number + 2} for number in range(copies)],
        )
    upgrade(v0002)
    with database.transaction() as connection:
        documents = connection.scalars(select(EnvironmentRow.document)).all()
    assert [document["hardware"]["num_nodes"] for document in documents] == [3] * (copies + 1)
    database.close()


def test_reading_commands_of_an_upgraded_database(v0002: str) -> None:
    upgrade(v0002)
    storage = ["--storage", v0002]
    commands = (
        ["studies", *storage],
        ["status", "words", *storage],
        ["trials", "words", *storage],
        ["show", "words", "5", *storage],
        ["pareto", "words", *storage],
    )
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, (command, result.output)
        assert "words" in result.output or "trial" in result.output


def test_failed_upgrade_changes_nothing(v0001: str) -> None:
    database = Database(v0001)
    with database.transaction(write=True) as connection:
        connection.execute(text("CREATE INDEX ix_trials_study_id_revision ON events (kind)"))
    database.close()
    with pytest.raises(StoreUnavailableError, match="ix_trials_study_id_revision"):
        upgrade(v0001)
    assert check(v0001).current == "0001"
    with database.transaction() as connection:
        assert connection.scalar(text("SELECT count(*) FROM measurements")) == 3
    database.close()


def test_newer_database_is_not_changed(url: str) -> None:
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


def test_revisions_match_the_file_names() -> None:
    from alembic.script import ScriptDirectory

    directory = ScriptDirectory(str(REPOSITORY / "alembic"))
    assert [script.revision for script in directory.walk_revisions()][::-1] == revisions()


def test_alembic_command_line(sqlite_url: str) -> None:
    command = [sys.executable, "-m", "alembic", "-x", f"url={sqlite_url}", "upgrade", "head"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert check(sqlite_url).state == "current"


@pytest.mark.parametrize("version", ["0002", "0003", "0004", "0005", "0006"])
def test_a_study_of_an_earlier_schema_goes_on(url: str, version: str) -> None:
    """Fields that tasks have got since leave the task what it was."""
    upgrade(restore(url, version))
    store = open_store(url)
    (name,) = store.studies()
    store.update_study(store.study(name))
    store.close()
