"""Checks the schema of a database and upgrades it to that of this version.

The scripts are in ``alembic/`` of the repository and in ``autotune/_alembic`` of a wheel. They are
named ``<revision>_<subject>.py`` with revisions that sort. ``check`` needs only these names, so
that opening a store does not import alembic.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, column, inspect, select, table, text

from autotune.errors import SchemaTooNewError, StoreUnavailableError
from autotune.store.database import Database
from autotune.store.service_models import SCHEMA

VERSION_TABLE = "autotune_schema"
"""Not alembic's default name, which other programs may use in the same database."""

_UPGRADE_LOCK = 0x6175746F


@dataclass(frozen=True)
class SchemaStatus:
    """``current`` is the revision of the database, ``None`` if it is empty; ``head`` is that of
    this version."""

    current: str | None
    head: str
    state: Literal["current", "outdated", "too new", "empty"]


def scripts() -> Path:
    """The directory of the migration scripts, installed or in the repository."""
    package = Path(__file__).parents[1]
    installed = package / "_alembic"
    return installed if installed.is_dir() else package.parent / "alembic"


def revisions() -> list[str]:
    """All revisions of this version, oldest first."""
    return sorted(path.name.partition("_")[0] for path in scripts().glob("versions/[0-9]*.py"))


def check(url: str) -> SchemaStatus:
    """Compare the schema of the database with that of this version. Writes nothing; a missing
    SQLite file counts as empty."""
    database = Database(url, read_only=True)
    if database.path is not None and not database.path.exists():
        return _status(None)
    try:
        with database.transaction() as connection:
            return _status(_current(connection, str(database)))
    finally:
        database.close()


def upgrade(url: str, *, revision: str = "head") -> SchemaStatus:
    """Upgrade the database to ``revision`` in one transaction; creates missing files and tables.

    Safe to call from several processes concurrently, and on a current database.
    """
    database = Database(url, create=True, enforce_keys=False)
    try:
        with database.transaction(write=True) as connection:
            if not database.sqlite:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
            if _status(_current(connection, str(database))).state == "too new":
                raise too_new(str(database))
            _run_scripts(connection, revision)
            return _status(_current(connection, str(database)))
    finally:
        database.close()


def too_new(where: str) -> SchemaTooNewError:
    """The error for a database of a newer version."""
    return SchemaTooNewError(
        f"{where} was written by a newer autotune than this one",
        hint="pip install --upgrade autotune",
    )


def _run_scripts(connection: Connection, revision: str) -> None:
    from alembic.config import Config

    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _status(current: str | None) -> SchemaStatus:
    supported = revisions()
    head = supported[-1]
    if current is None:
        return SchemaStatus(None, head, "empty")
    if current == head:
        return SchemaStatus(current, head, "current")
    return SchemaStatus(current, head, "outdated" if current in supported else "too new")


def _current(connection: Connection, where: str) -> str | None:
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        schema = table(VERSION_TABLE, column("version_num"))
        revision = connection.scalar(select(schema.c.version_num))
        return None if revision is None else str(revision)
    foreign = sorted(tables & set(SCHEMA.tables))
    if foreign:
        raise StoreUnavailableError(
            f"{where} belongs to another program: it has tables {', '.join(foreign)} "
            "that autotune did not create",
            hint="use another file or database with --storage",
        )
    return None
