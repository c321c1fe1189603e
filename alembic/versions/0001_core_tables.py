"""Studies, their environments, trials, and the evidence that trials leave.

Revision 0001, the first.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False)


def parent(name: str, table: str, *, primary_key: bool = False) -> sa.Column[int]:
    target = sa.ForeignKey(f"{table}.id", ondelete="CASCADE")
    return sa.Column(name, sa.Integer(), target, primary_key=primary_key, nullable=False)


def upgrade() -> None:
    create_studies()
    create_trials()
    create_measurements()
    create_progress()


def create_studies() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(16), nullable=False),
        moment("created_at"),
        json("study"),
        json("spec"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.Integer(), primary_key=True),
        parent("study_id", "studies"),
        moment("recorded_at"),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("git_commit", sa.String(64)),
        json("document"),
    )
    op.create_index(None, "environments", ["study_id"])


def create_trials() -> None:
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer(), primary_key=True),
        parent("study_id", "studies"),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("strategy_key", sa.String(16), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32)),
        moment("started_at", nullable=True),
        moment("finished_at", nullable=True),
        sa.Column("reason", sa.Text()),
        json("strategy"),
        json("environment"),
        sa.Column("log", sa.Text()),
        sa.UniqueConstraint("study_id", "number"),
    )
    op.create_index(None, "trials", ["study_id", "state"])
    op.create_index(None, "trials", ["study_id", "strategy_key"])


def create_measurements() -> None:
    op.create_table(
        "measurements",
        parent("trial_id", "trials", primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("unit", sa.String(32), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("ci_low", sa.Double()),
        sa.Column("ci_high", sa.Double()),
        sa.Column("source", sa.Integer()),
        json("samples"),
        json("warmup"),
    )


def create_progress() -> None:
    op.create_table(
        "curve_points",
        parent("trial_id", "trials", primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("total_steps", sa.Integer(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("loss", sa.Double()),
        json("metrics"),
    )
    op.create_table(
        "memory_timelines", parent("trial_id", "trials", primary_key=True), json("points")
    )
    op.create_table(
        "events",
        parent("trial_id", "trials", primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        moment("at"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
    )
    op.create_table(
        "artifacts",
        parent("trial_id", "trials", primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("path", sa.Text(), nullable=False),
    )
