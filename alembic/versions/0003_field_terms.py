"""Store origins, phases and settings under the terms that the code uses.

Revision 0003, after 0002. Values are renamed; no figure changes:

- ``trials.kind`` becomes ``trials.failure``;
- origins ``alone``, ``warm`` and ``prior`` become ``isolated``, ``imported`` and ``transferred``;
- phases in events: ``1 place`` becomes ``1 devices``, ``3 apply`` ``3 setup``, ``4 probe``
  ``4 profile``, ``7 account`` ``7 record``;
- keys of JSON documents: ``machines`` of a host becomes ``num_nodes``, ``without_gain`` of a
  budget ``patience``.

Rows are renamed in SQL. JSON documents are rewritten in Python, a batch at a time: a database's
own JSON functions may change how a number is written, and with it its type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ORIGINS = {"alone": "isolated", "warm": "imported", "prior": "transferred"}

PHASES = {
    "1 place": "1 devices",
    "3 apply": "3 setup",
    "4 probe": "4 profile",
    "7 account": "7 record",
    "9 account": "9 record",
}

BATCH_ROWS = 500
"""Documents in memory at a time."""

Document = dict[str, Any]


def upgrade() -> None:
    op.execute("ALTER TABLE trials RENAME COLUMN kind TO failure")
    rename_origins()
    rename_phases()
    rewrite("environments", "document", "machines", rename_num_nodes)
    rewrite("studies", "study", "without_gain", rename_patience)


def rename_origins() -> None:
    trials = sa.table("trials", sa.column("origin"))
    renamed = sa.case(ORIGINS, value=trials.c.origin)
    op.execute(trials.update().where(trials.c.origin.in_(ORIGINS)).values(origin=renamed))


def rename_phases() -> None:
    """Rename the phase that an event's message begins with, in one pass over the table."""
    events = sa.table("events", sa.column("kind", sa.Text), sa.column("message", sa.Text))
    message = events.c.message
    cases = [
        (message.like(f"{old} %"), sa.literal(new) + sa.func.substr(message, len(old) + 1))
        for old, new in PHASES.items()
    ]
    op.execute(
        events.update()
        .where(events.c.kind == "phase", sa.or_(*(is_old for is_old, _ in cases)))
        .values(message=sa.case(*cases))
    )


def rewrite(table: str, column: str, key: str, change: Callable[[Document], Document]) -> None:
    """Apply ``change`` to the documents whose text has ``key``, ``BATCH_ROWS`` at a time."""
    rows = sa.table(table, sa.column("id", sa.Integer), sa.column(column, sa.JSON))
    document = rows.c[column]
    batch = (
        sa.select(rows.c.id, document)
        .where(sa.cast(document, sa.Text).like(f'%"{key}"%'))
        .order_by(rows.c.id)
        .limit(BATCH_ROWS)
    )
    connection, last_id = op.get_bind(), -1
    while documents := connection.execute(batch.where(rows.c.id > last_id)).all():
        for last_id, value in documents:
            changed = rows.update().where(rows.c.id == last_id).values({column: change(value)})
            connection.execute(changed)


def rename_num_nodes(environment: Document) -> Document:
    hardware = environment.get("hardware")
    if not isinstance(hardware, dict):
        return environment
    return {**environment, "hardware": with_key_renamed(hardware, "machines", "num_nodes")}


def rename_patience(study: Document) -> Document:
    return {**study, "budget": with_key_renamed(study["budget"], "without_gain", "patience")}


def with_key_renamed(document: Document, old: str, new: str) -> Document:
    """``document`` with one key renamed, in the same order."""
    return {new if key == old else key: value for key, value in document.items()}
