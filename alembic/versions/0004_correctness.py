"""Add a table of the labels that the model of a trial predicted correctly.

Revision 0004, after 0003. Trials from before have no row; their scores are compared without it.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    trial = sa.ForeignKey("trials.id", ondelete="CASCADE")
    op.create_table(
        "correctness",
        sa.Column("trial_id", sa.Integer(), trial, primary_key=True, nullable=False),
        sa.Column("split", sa.String(16), nullable=False),
        sa.Column("num_labels", sa.Integer(), nullable=False),
        sa.Column("hits", sa.Text(), nullable=False),
        sa.Column("starts", sa.Text()),
    )
