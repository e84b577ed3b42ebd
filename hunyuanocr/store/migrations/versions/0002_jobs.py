"""Create jobs, their files, idempotency keys and webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)
_ID, _OWNER = sa.String(64), sa.String(200)


def upgrade() -> None:
    """Create the tables."""
    _jobs()
    op.create_table(
        "job_inputs",
        sa.Column("job_id", _ID, nullable=False),
        sa.Column("owner", _OWNER, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_job_inputs"),
        _to_job("job_inputs"),
    )
    op.create_table(
        "job_keys",
        sa.Column("owner", _OWNER, nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("target", _ID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_job_keys"),
    )
    op.create_index("ix_job_keys_created_at", "job_keys", ["created_at"])
    op.create_table(
        "job_webhooks",
        sa.Column("job_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner", _OWNER, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("worker", sa.String(200)),
        sa.Column("delivered_at", _TIME),
        sa.Column("trouble", sa.Text),
        sa.PrimaryKeyConstraint("job_id", name="pk_job_webhooks"),
        _to_job("job_webhooks"),
    )
    op.create_index("ix_job_webhooks_status_due_at", "job_webhooks", ["status", "due_at"])


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner", _OWNER, nullable=False),
        sa.Column("batch_id", _ID),
        sa.Column("name", sa.Text),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("wanted", _JSON, nullable=False),
        sa.Column("device", sa.String(200)),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("webhook", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("worker", sa.String(200)),
        sa.Column("lease_until", _TIME),
        sa.Column("started_at", _TIME),
        sa.Column("finished_at", _TIME),
        sa.Column("pages", sa.Integer),
        sa.Column("error", _JSON),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_status_attempts_priority_id", "jobs", ["status", "attempts", "priority", "id"])
    op.create_index("ix_jobs_owner_id", "jobs", ["owner", "id"])
    op.create_index("ix_jobs_batch_id_id", "jobs", ["batch_id", "id"])
    op.create_index("ix_jobs_finished_at", "jobs", ["finished_at"])


def _to_job(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=f"fk_{table}_job_id", ondelete="CASCADE")


def downgrade() -> None:
    """Drop the tables with their content."""
    for table in ("job_webhooks", "job_keys", "job_inputs", "jobs"):
        op.drop_table(table)
