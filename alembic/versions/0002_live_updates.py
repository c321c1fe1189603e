"""Add revisions to studies and trials, and driver and heartbeat to trials.

Revision 0002, after 0001. Existing trials get the revisions 1, 2, ... in order of number, so that a
reader that follows a study from the start sees each of them once.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("changed_at", sa.DateTime(timezone=True)))
    op.add_column("studies", sa.Column("revision", sa.BigInteger()))
    op.add_column("trials", sa.Column("heartbeat_at", sa.DateTime(timezone=True)))
    op.add_column("trials", sa.Column("driver", sa.String(255)))
    op.add_column("trials", sa.Column("revision", sa.BigInteger()))
    fill()
    with op.batch_alter_table("studies") as studies:
        studies.alter_column("changed_at", nullable=False)
        studies.alter_column("revision", nullable=False)
    with op.batch_alter_table("trials") as trials:
        trials.alter_column("revision", nullable=False)
    op.create_index(None, "trials", ["study_id", "revision"])


def fill() -> None:
    op.execute("UPDATE trials SET revision = number + 1")
    op.execute(
        "UPDATE studies SET"
        " revision = (SELECT COUNT(*) FROM trials WHERE trials.study_id = studies.id),"
        " changed_at = COALESCE((SELECT MAX(COALESCE(finished_at, started_at))"
        " FROM trials WHERE trials.study_id = studies.id), created_at)"
    )
