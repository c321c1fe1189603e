"""The database of the store: URLs, engines, transactions, and errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from autotune.domain.paths import expand_home
from autotune.errors import MissingExtraError, StoreUnavailableError, UsageError

LOCK_SECONDS = 30
CONNECT_SECONDS = 5

_EXAMPLES = "for example sqlite:///autotune.db or postgresql://user@host/autotune"
_SQLITE_CAUSES = {
    "SQLITE_READONLY": ("is read-only", "make the file and its directory writable"),
    "SQLITE_FULL": (
        "cannot grow: the disk is full",
        "free some disk space; stored results are safe",
    ),
    "SQLITE_BUSY": (f"was locked for {LOCK_SECONDS} s", "end the program that holds it open"),
    "SQLITE_CORRUPT": ("is damaged", "restore a backup; see docs/storage.md"),
    "SQLITE_NOTADB": ("is damaged or no SQLite database", "restore a backup or use another file"),
    "SQLITE_CANTOPEN": ("cannot be opened", "check that the directory exists and is accessible"),
    "SQLITE_IOERR": ("cannot be read or written", "check the disk; stored results are safe"),
}
_POSTGRES_HINT = (
    "check that the server runs and that user, password and database name are right "
    "(`createdb NAME` creates a database)"
)


class Database:
    """One database behind a SQLAlchemy URL. It connects on first use.

    ``read_only`` prevents writes and never blocks a writer. ``create`` lets SQLite create the file.
    ``enforce_keys=False`` is for migrations, which rebuild tables.
    """

    def __init__(
        self, url: str, *, read_only: bool = False, create: bool = False, enforce_keys: bool = True
    ) -> None:
        self.url = parse_url(url)
        self.read_only = read_only
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.path = expand_home(self.url.database or "").absolute() if self.sqlite else None
        if self.path is None:
            self.engine = _postgres_engine(self.url, read_only)
        else:
            mode = "ro" if read_only else "rwc" if create else "rw"
            self.engine = _sqlite_engine(self.path, mode, enforce_keys)

    def __str__(self) -> str:
        return masked(self.url)

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[Connection]:
        """A transaction: commits at the end, rolls back on any exception. A reader sees one
        snapshot.

        :raises StoreUnavailableError: for any error of the database.
        """
        if write and self.read_only:
            raise StoreUnavailableError(f"{self} was opened for reading only")
        options: dict[str, Any] = {"immediate": write}
        if not self.sqlite and not write:
            options["isolation_level"] = "REPEATABLE READ"
        try:
            with self.engine.connect() as connection:
                connection.execution_options(**options)
                with connection.begin():
                    yield connection
        except (DBAPIError, PoolTimeoutError, sqlite3.Error) as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        self.engine.dispose()

    def _unavailable(self, error: Exception) -> StoreUnavailableError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        name = getattr(cause, "sqlite_errorname", None)
        if name is not None:
            base = "_".join(name.split("_")[:2])
            problem, hint = _SQLITE_CAUSES.get(base, ("cannot be used", None))
            return StoreUnavailableError(f"{self.path} {problem} ({cause})", hint=hint)
        message = " ".join(str(cause).split())
        if self.url.password:
            message = message.replace(str(self.url.password), "***")
        return StoreUnavailableError(f"{self} cannot be used: {message}", hint=_POSTGRES_HINT)


def parse_url(url: str) -> URL:
    """Parse a URL and complete its driver.

    :raises UsageError: it is no URL of a SQLite file or a PostgreSQL database.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        hint = f"write a file as sqlite:///{url}" if "://" not in url else _EXAMPLES
        raise UsageError("the storage is no URL", hint=hint) from None
    backend, _, driver = parsed.drivername.partition("+")
    if backend == "sqlite" and driver in ("", "pysqlite"):
        return _check_sqlite(parsed)
    if backend in ("postgresql", "postgres") and driver in ("", "psycopg"):
        if not parsed.database:
            raise UsageError(f"{masked(parsed)} names no database", hint=_EXAMPLES)
        return parsed.set(drivername="postgresql+psycopg")
    raise UsageError(
        f"storage of kind {parsed.drivername} is not supported: "
        "SQLite and PostgreSQL (through psycopg 3) are",
        hint=_EXAMPLES,
    )


def masked(url: URL) -> str:
    """The URL without passwords."""
    hidden = {key: "hidden" for key in url.query if "password" in key.lower()}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def _check_sqlite(url: URL) -> URL:
    if url.database in (None, "", ":memory:") or url.host:
        raise UsageError(
            "a SQLite storage needs a file", hint="three slashes and a path: sqlite:///autotune.db"
        )
    if expand_home(url.database or "").is_dir():
        raise UsageError(f"{url.database} is a directory", hint=f"{url}/autotune.db")
    if url.query:
        raise UsageError(f"options are not supported in {url}", hint=_EXAMPLES)
    return url


def _sqlite_engine(path: Path, mode: str, enforce_keys: bool) -> Engine:
    """An engine for SQLite.

    Transactions begin explicitly: a writer takes the lock first, so it waits for other writers and
    does not fail in the middle. ``synchronous=FULL`` flushes the log at each commit: a trial takes
    minutes and a flush milliseconds, so that even a power failure loses no finished trial.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            timeout=LOCK_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        if mode != "ro":
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA foreign_keys = {'ON' if enforce_keys else 'OFF'}")
        return connection

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _postgres_engine(url: URL, read_only: bool) -> Engine:
    """An engine for PostgreSQL. A lost server is detected within seconds, and a driver that
    hangs in a transaction cannot block the others forever."""
    if find_spec("psycopg") is None:
        raise MissingExtraError("psycopg", "postgres", "a PostgreSQL storage")
    engine = create_engine(
        url,
        pool_pre_ping=True,
        execution_options={"postgresql_readonly": True} if read_only else {},
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "tcp_user_timeout": 10_000,
            "application_name": "autotune",
        },
    )

    @event.listens_for(engine, "connect")
    def limit(connection: Any, _record: Any) -> None:
        connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        connection.execute("SET idle_in_transaction_session_timeout = '60s'")
        connection.commit()

    return engine
