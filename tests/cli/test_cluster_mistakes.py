"""Database servers and Ray clusters that are missing or wrong: a message without a long wait."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from autotune.store import open_store
from autotune.store.migrations import VERSION_TABLE
from tests.cli.conftest import STUDY, CommandLine, write_data
from tests.store.postgres_server import PASSWORD, PostgresServer, postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A working directory with a study file and its data."""
    path = tmp_path_factory.mktemp("cluster-mistakes")
    write_data(path)
    (path / "tiny.yaml").write_text(STUDY)
    return CommandLine(path)


def expect_error(cli: CommandLine, *arguments: str) -> str:
    result = cli.run("search", "tiny.yaml", *arguments)
    assert result.code in (1, 2), result.err
    assert "Traceback" not in result.err
    assert "s3cret" not in result.err
    return " ".join(result.err.split())


def test_wrong_password(cli: CommandLine, postgres_server: PostgresServer) -> None:
    message = expect_error(
        cli, "--storage", postgres_server.url("postgres", password="s3cret-wrong")
    )
    assert "password authentication failed" in message
    assert ":***@" in message


def test_missing_database_on_ray(cli: CommandLine, postgres_server: PostgresServer) -> None:
    """It is reported before workers are started."""
    message = expect_error(cli, "--storage", postgres_server.url("nowhere"), "--executor", "ray")
    assert 'database "nowhere" does not exist' in message


def test_port_without_a_server(cli: CommandLine) -> None:
    message = expect_error(
        cli, "--storage", f"postgresql://autotune:{PASSWORD}@127.0.0.1:9/autotune"
    )
    assert "connection" in message


def test_old_schema(cli: CommandLine, postgres_url: str) -> None:
    open_store(postgres_url).close()
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    message = expect_error(cli, "--storage", postgres_url)
    assert "has schema 0001, this autotune needs" in message
    assert "autotune db upgrade --storage" in message


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9"),
        ("ray://127.0.0.1:9", "ray start --address=127.0.0.1:6379 --num-cpus=0"),
    ],
)
def test_unreachable_ray_cluster(cli: CommandLine, address: str, message: str) -> None:
    assert message in expect_error(cli, "--executor", "ray", "--address", address)


def test_stopped_cluster(cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray stores the address of the last cluster and does not notice when it is killed."""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    message = expect_error(cli, "--executor", "ray", "--address", "auto")
    assert "no Ray cluster answers at 127.0.0.1:9" in message
