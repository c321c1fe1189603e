"""Add whether a search runs, and why its last session ended.

Revision 0007, after 0006. Both are null for studies from before.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("search_state", sa.String(16)))
    op.add_column("studies", sa.Column("search_reason", sa.Text()))
