"""Add a table of the trained models that are kept in the folders of trials.

Revision 0006, after 0005. Trials from before have no row: their models were not kept.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    trial = sa.ForeignKey("trials.id", ondelete="CASCADE")
    op.create_table(
        "models",
        sa.Column("trial_id", sa.Integer(), trial, primary_key=True, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
    )
