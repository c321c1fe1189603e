from __future__ import annotations

from pathlib import Path

import pytest

from autotune.errors import MissingExtraError, UsageError
from autotune.store import open_store
from autotune.store.database import Database, masked, parse_url


@pytest.mark.parametrize(
    "url", ["postgresql://u:p@h/db", "postgres://u:p@h/db", "postgresql+psycopg://u:p@h/db"]
)
def test_postgresql_goes_through_psycopg(url: str) -> None:
    parsed = parse_url(url)
    assert (parsed.drivername, parsed.database, parsed.password) == (
        "postgresql+psycopg",
        "db",
        "p",
    )


@pytest.mark.parametrize(
    ("url", "message", "hint"),
    [
        ("runs/autotune.db", "the storage is no URL", "sqlite:///runs/autotune.db"),
        ("", "the storage is no URL", "sqlite:///"),
        ("://secret@h", "the storage is no URL", "postgresql://"),
        ("mysql://h/db", "mysql is not supported", "sqlite:///autotune.db"),
        ("postgresql+asyncpg://h/db", "asyncpg is not supported", "postgresql://"),
        ("sqlite://", "needs a file", "three slashes"),
        ("sqlite:///:memory:", "needs a file", "three slashes"),
        ("sqlite://autotune.db", "needs a file", "three slashes"),
        ("sqlite:///a.db?mode=ro", "options are not supported", "sqlite:///"),
        ("postgresql://u:secret@h", "names no database", "postgresql://"),
        ("postgresql://u:secret@h:port/db", "the storage is no URL", "postgresql://"),
    ],
)
def test_wrong_urls(url: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_store(url)
    assert hint in str(caught.value.hint)
    assert "secret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret@h/db", "postgresql://u@h/db?password=secret&sslmode=require"]
)
def test_passwords_are_masked(url: str) -> None:
    shown = masked(parse_url(url))
    assert "secret" not in shown
    assert shown.startswith("postgresql+psycopg://u")


def test_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotune.store.database.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="psycopg") as caught:
        Database("postgresql://h/db")
    assert caught.value.hint == "pip install 'autotune[postgres]'"


def test_paths_with_odd_characters(tmp_path: Path) -> None:
    directory = tmp_path / "50% off #1 é"
    directory.mkdir()
    open_store(f"sqlite:///{directory}/a b.db").close()
    assert [path.name for path in directory.iterdir()] == ["a b.db"]


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///autotune.db")
    monkeypatch.chdir("/")
    assert store.studies() == []
    assert (tmp_path / "autotune.db").exists()
    store.close()
