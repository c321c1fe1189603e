"""A PostgreSQL server for tests: started once a session on a free port, emptied for each test.

To use it in another directory, import the fixtures in its conftest::

    from tests.store.postgres_server import postgres_server, postgres_url  # noqa: F401
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

USER = "autotune"
PASSWORD = "s3cret-word"
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "listen_addresses": "127.0.0.1",
}


class PostgresServer:
    """One server with its own directory. It refuses to run as root, which uses another account."""

    def __init__(self, binaries: Path, directory: Path) -> None:
        self.binaries = binaries
        self.directory = directory
        self.port = _free_port()
        self.account = "postgres" if os.geteuid() == 0 else None
        self.running = False

    def create(self) -> None:
        password = self.directory / "password"
        password.write_text(PASSWORD)
        if self.account is not None:
            for path in (self.directory, password):
                shutil.chown(path, self.account, self.account)
        self._run("initdb", "-N", "-E", "UTF8", "--no-locale", "-A", "scram-sha-256", "-U", USER,
                  f"--pwfile={password}")  # fmt: skip
        settings = {**SETTINGS, "port": str(self.port), "unix_socket_directories": self.directory}
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-l", str(self.directory / "log"), "start")
        self.running = True

    def stop(self) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")
        self.running = False

    def url(self, database: str, *, password: str = PASSWORD) -> str:
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def empty_database(self) -> str:
        """Empty the database, closing all connections to it, and return its URL. A new database
        for each test would create hundreds of files each time."""
        url = self.url("postgres")
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return url

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), "-D", str(self.data), *arguments]
        done = subprocess.run(
            command,
            cwd=self.directory,
            user=self.account,
            group=self.account,
            extra_groups=[] if self.account else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The running server. Without PostgreSQL the tests are skipped, or fail where CI is true."""
    binaries = server_programs()
    if binaries is None:
        message = "PostgreSQL is not installed (apt-get install postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with temporary_server(binaries) as server:
        yield server


@contextmanager
def temporary_server(binaries: Path) -> Iterator[PostgresServer]:
    """A running server in a folder of its own, which its account can enter."""
    directory = Path(tempfile.mkdtemp(prefix="autotune-pg-"))
    server = PostgresServer(binaries, directory)
    server.create()
    server.start()
    try:
        yield server
    finally:
        if server.running:
            server.stop()
        shutil.rmtree(directory)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty database."""
    return postgres_server.empty_database()


def server_programs() -> Path | None:
    """The folder of the server programs, which Debian keeps outside of PATH, by version."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    if installed:
        return installed[-1]
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
