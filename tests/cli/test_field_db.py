"""``autotune db delete``."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from autotune.store import open_store
from tests.cli.conftest import CommandLine
from tests.store.samples import study


def make_studies(path: Path) -> None:
    store = open_store(f"sqlite:///{path / 'autotune.db'}")
    for name in ("bert", "other"):
        store.create_study(study(name), {})
    store.close()


def test_field_delete_asks_first(cli: CommandLine) -> None:
    make_studies(cli.path)
    for answer, left in (("n\n", ["bert", "other"]), ("y\n", ["other"])):
        process = subprocess.run(
            [sys.executable, "-m", "autotune", "db", "delete", "bert"],
            cwd=cli.path, env=cli.environment, input=answer, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert "Delete study bert with 0 trials from sqlite:///autotune.db?" in process.stderr
        assert process.returncode == (1 if answer == "n\n" else 0)
        with sqlite3.connect(cli.path / "autotune.db") as database:
            assert [name for (name,) in database.execute("SELECT name FROM studies")] == left


def test_field_delete_without_a_question_and_of_no_study(cli: CommandLine) -> None:
    make_studies(cli.path)
    assert cli.run("db", "delete", "bert", "--yes").code == 0
    missing = cli.run("db", "delete", "bert", "--yes")
    assert missing.code == 2
    assert "no study bert" in missing.err


def test_field_the_status_of_a_damaged_study_says_what_is_wrong(cli: CommandLine) -> None:
    make_studies(cli.path)
    with sqlite3.connect(cli.path / "autotune.db") as database:
        database.execute("""UPDATE studies SET study = '{"name": 1}' WHERE name = 'bert'""")
    damaged = cli.run("status", "bert")
    assert damaged.code == cli.run("show", "bert", "0").code != 0
    assert "study bert cannot be read" in damaged.err and "unpack" not in damaged.err
    assert "other" in cli.run("studies").out
