"""How alembic reaches the database: through a connection of autotune.store, or by URL.

From the command line: ``alembic -x url=sqlite:///autotune.db current``; without ``-x url`` the
variable AUTOTUNE_STORAGE is used, and then ``sqlalchemy.url`` of alembic.ini.
"""

from __future__ import annotations

import os

from sqlalchemy import Connection

from alembic import context
from autotune.errors import UsageError
from autotune.store.database import Database
from autotune.store.migrations import VERSION_TABLE
from autotune.store.models import Base


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def url() -> str:
    given = context.get_x_argument(as_dictionary=True).get("url")
    configured = context.config.get_main_option("sqlalchemy.url")
    return given or os.environ.get("AUTOTUNE_STORAGE") or configured or ""


def main() -> None:
    if context.is_offline_mode():
        raise UsageError("migrations copy data and need a database: run without --sql")
    given = context.config.attributes.get("connection")
    if given is not None:
        run(given)
        return
    database = Database(url(), create=True, enforce_keys=False)
    with database.transaction(write=True) as connection:
        run(connection)


main()
