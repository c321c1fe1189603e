"""Runs the migrations on a connection of autotune.store, or on a URL from the command line.

From the command line: ``alembic -x url=sqlite:///autotune.db current``. Without ``-x url`` it uses
the variable AUTOTUNE_STORAGE, then ``sqlalchemy.url`` of alembic.ini.
"""

from __future__ import annotations

import os

from sqlalchemy import Connection

from alembic import context
from autotune.errors import UsageError
from autotune.store.database import Database
from autotune.store.migrations import VERSION_TABLE
from autotune.store.service_models import SCHEMA


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=SCHEMA,
        version_table=VERSION_TABLE,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def url() -> str:
    argument = context.get_x_argument(as_dictionary=True).get("url")
    configured = context.config.get_main_option("sqlalchemy.url")
    return argument or os.environ.get("AUTOTUNE_STORAGE") or configured or ""


def main() -> None:
    if context.is_offline_mode():
        raise UsageError("migrations copy data and need a database: run without --sql")
    connection = context.config.attributes.get("connection")
    if connection is not None:
        run(connection)
        return
    database = Database(url(), create=True, enforce_keys=False)
    with database.transaction(write=True) as connection:
        run(connection)


main()
