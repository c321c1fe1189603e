"""Add the tables of the service: its queue, tokens, audit log and webhooks.

Revision 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def key() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), primary_key=True)


def upgrade() -> None:
    create_queue()
    create_access()
    create_webhooks()


def create_queue() -> None:
    op.create_table(
        "submissions",
        key(),
        sa.Column("study", sa.String(255), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("minutes", sa.Double()),
        sa.Column("used_minutes", sa.Double(), nullable=False),
        moment("submitted_at"),
        moment("started_at", nullable=True),
        moment("ended_at", nullable=True),
        sa.Column("driver", sa.String(255)),
        moment("lease_until", nullable=True),
        sa.Column("stop_requested", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.UniqueConstraint("study"),
    )
    op.create_index(None, "submissions", ["state"])
    op.create_index(None, "submissions", ["owner"])


def create_access() -> None:
    op.create_table(
        "access_tokens",
        key(),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("minutes", sa.Double()),
        moment("created_at"),
        moment("revoked_at", nullable=True),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "audit_log",
        key(),
        moment("at"),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("action", sa.String(255), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
    )


def create_webhooks() -> None:
    op.create_table(
        "webhooks",
        key(),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        moment("created_at"),
    )
    op.create_index(None, "webhooks", ["owner"])
    op.create_table(
        "deliveries",
        key(),
        sa.Column(
            "webhook_id",
            sa.Integer(),
            sa.ForeignKey("webhooks.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("event_key", sa.String(255), nullable=False),
        moment("created_at"),
        moment("next_at", nullable=True),
        moment("delivered_at", nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.UniqueConstraint("webhook_id", "event_key"),
    )
    op.create_index(None, "deliveries", ["next_at"])
