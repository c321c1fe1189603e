"""Servers that are not there, or not as they should be: said in words, and soon."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from autotune.store import open_store
from autotune.store.migrations import VERSION_TABLE
from tests.cli.conftest import STUDY, Desk, write_data
from tests.store.postgres_server import PASSWORD, PostgresServer, postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

PATIENCE_SECONDS = 60.0
"""It takes a few; a machine that does other things at the same time gets more."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A folder with a study that could be searched."""
    path = tmp_path_factory.mktemp("cluster-mistakes")
    write_data(path)
    (path / "tiny.yaml").write_text(STUDY)
    return Desk(path)


def refused(desk: Desk, *arguments: str) -> str:
    result = desk.type("search", "tiny.yaml", *arguments, timeout=PATIENCE_SECONDS)
    assert result.code in (1, 2), result.err
    assert "Traceback" not in result.err
    assert "s3cret" not in result.err
    return " ".join(result.err.split())


def test_wrong_password(desk: Desk, postgres_server: PostgresServer) -> None:
    said = refused(desk, "--storage", postgres_server.url("postgres", password="s3cret-wrong"))
    assert "password authentication failed" in said
    assert ":***@" in said


def test_missing_database_on_ray(desk: Desk, postgres_server: PostgresServer) -> None:
    """It is told before any machine is asked for."""
    said = refused(desk, "--storage", postgres_server.url("nowhere"), "--executor", "ray")
    assert 'database "nowhere" does not exist' in said


def test_nobody_listens(desk: Desk) -> None:
    said = refused(desk, "--storage", f"postgresql://autotune:{PASSWORD}@127.0.0.1:9/autotune")
    assert "connection" in said


def test_old_schema(desk: Desk, postgres_url: str) -> None:
    open_store(postgres_url).close()
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    said = refused(desk, "--storage", postgres_url)
    assert "has schema 0001, this autotune needs" in said
    assert "autotune db upgrade --storage" in said


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9"),
        ("ray://127.0.0.1:9", "ray start --address=127.0.0.1:6379 --num-cpus=0"),
    ],
)
def test_unreachable_ray_cluster(desk: Desk, address: str, message: str) -> None:
    assert message in refused(desk, "--executor", "ray", "--address", address)


def test_a_cluster_that_has_been_here(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray notes where it was started last, and does not notice that it was stopped by force."""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    said = refused(desk, "--executor", "ray", "--address", "auto")
    assert "no Ray cluster answers at 127.0.0.1:9" in said
