"""Damaged rows of a database, and those of other versions, are an error that names their study."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from autotune.analysis.snapshot import Snapshot
from autotune.cli.front import front_listing
from autotune.cli.trials import trial_details, trial_listing
from autotune.domain import TrialOrigin
from autotune.errors import AutotuneError
from autotune.store import SqlStore, open_store
from tests.fuzz.mutations import (
    ODD_VALUES,
    Problems,
    change_bytes,
    change_document,
    count,
    generators,
)
from tests.store.samples import ENVIRONMENT, completed, strategy, study

ROWS = 120
NAMES = ("bert", "other")


def fill(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    for name in NAMES:
        store.create_study(study(name), ENVIRONMENT)
        for index in range(3):
            store.start(name, strategy(index), origin=TrialOrigin.SAMPLED, seed=0)
        for index in range(2):
            store.finish(name, index, completed())
    store.close()


def damage(path: Path, rng: random.Random) -> tuple[str, str, Any]:
    """Give one column of a row of the first study an odd value. Returns table, column, value."""
    with sqlite3.connect(path) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name not in ("sqlite_sequence", "autotune_schema")
        ]
        table = rng.choice(tables)
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        column = rng.choice([c for c in columns if c not in ("id", "trial_id", "study_id")])
        stored = connection.execute(f"SELECT {column} FROM {table} ORDER BY rowid").fetchone()
        value = _odd(stored[0] if stored else None, rng)
        connection.execute(
            f"UPDATE OR IGNORE {table} SET {column} = ?"
            f" WHERE rowid = (SELECT min(rowid) FROM {table})",
            (value,),
        )
    connection.close()
    return table, column, value


def _odd(stored: Any, rng: random.Random) -> Any:
    """A changed document for a column with one, else a value that SQLite can store."""
    if isinstance(stored, str) and stored[:1] in "[{" and rng.random() < 0.8:
        if rng.random() < 0.3:
            return change_bytes(stored.encode(), rng).decode(errors="replace")
        return json.dumps(change_document(json.loads(stored), rng))
    if isinstance(stored, str) and rng.random() < 0.3:
        return change_bytes(stored.encode(), rng).decode(errors="replace")
    value = rng.choice([v for v in ODD_VALUES if not isinstance(v, list | dict)])
    is_large = isinstance(value, int) and abs(value) >= 2**63
    text = str(value).encode(errors="replace").decode()
    return text if is_large or isinstance(value, str) else value


def readers(store: SqlStore, name: str) -> Mapping[str, Callable[[], object]]:
    def listing() -> object:
        """What ``trials``, ``pareto`` and ``show`` print."""
        trials = store.trials(name)
        snapshot = Snapshot(store.study(name), trials)
        details = [trial_details(snapshot, store.trial(name, t.number)) for t in trials]
        return trial_listing(snapshot, trials), front_listing(snapshot), details

    return {
        "study": lambda: store.study(name),
        "studies_overview": store.studies_overview,
        "trials": lambda: store.trials(name),
        "trials_since": lambda: store.trials_since(name),
        "trial": lambda: [store.trial(name, number) for number in range(3)],
        "curves": lambda: store.curves(name),
        "progress": lambda: store.progress(name),
        "environments": lambda: store.environments(name),
        "listing": listing,
    }


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("rows") / "good.db"
    fill(path)
    yield path


def test_damaged_rows(database: Path, tmp_path: Path) -> None:
    problems = Problems()
    for index, rng in enumerate(generators(count(ROWS))):
        path = tmp_path / f"{index}.db"
        shutil.copy(database, path)
        where = damage(path, rng)
        store = open_store(f"sqlite:///{path}", read_only=True)
        for name in NAMES:
            for reader, read in readers(store, name).items():
                problems.add(_problem(read, reader, name, where), where)
        store.close()
        path.unlink()
    assert not problems.first


def _problem(
    read: Callable[[], object], reader: str, name: str, where: tuple[str, str, Any]
) -> str | None:
    """Studies other than the damaged one stay readable."""
    try:
        read()
    except AutotuneError as error:
        error.message.encode()
        return None if name == "bert" else f"{reader} of the other study: {error.message}"
    except Exception as error:
        return f"{reader}: {where[:2]}: {type(error).__name__}: {error}"
    return None
