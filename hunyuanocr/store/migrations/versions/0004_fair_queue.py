"""Add turns of queued jobs, fair between clients. Jobs that are queued now keep their order within their owner."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_CHUNK = 1000  # rows per statement


def upgrade() -> None:
    """Add the columns, number the queued jobs, replace the index."""
    op.add_column("jobs", sa.Column("fair_key", sa.String(200), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"))
    op.execute("UPDATE jobs SET fair_key = owner")
    _number()
    op.drop_index("ix_jobs_status_attempts_priority_id", "jobs")
    op.create_index("ix_jobs_status_attempts_turn_id", "jobs", ["status", "attempts", "turn", "id"])
    columns = ["status", "fair_key", "attempts", "priority", "id", "turn", "size"]
    op.create_index("ix_jobs_status_fair_key_attempts_priority_id_turn_size", "jobs", columns)
    op.create_index("ix_jobs_fair_key_turn", "jobs", ["fair_key", "turn"])


def _number() -> None:
    jobs = sa.table("jobs", sa.column("id"), sa.column("owner"), sa.column("status"), sa.column("priority"), sa.column("turn"))
    conn = op.get_bind()
    query = sa.select(jobs.c.id, jobs.c.owner).where(jobs.c.status.in_(("queued", "running", "arriving")))
    turns: Counter[str] = Counter()
    numbered = []
    for row in conn.execute(query.order_by(jobs.c.priority.desc(), jobs.c.id)).all():
        turns[row.owner] += 1
        numbered.append({"job": row.id, "number": turns[row.owner]})
    change = sa.update(jobs).where(jobs.c.id == sa.bindparam("job")).values(turn=sa.bindparam("number"))
    for start in range(0, len(numbered), _CHUNK):
        conn.execute(change, numbered[start : start + _CHUNK])


def downgrade() -> None:
    """Restore the old order: oldest first, regardless of the owner."""
    for columns in ("fair_key_turn", "status_fair_key_attempts_priority_id_turn_size", "status_attempts_turn_id"):
        op.drop_index(f"ix_jobs_{columns}", "jobs")
    op.create_index("ix_jobs_status_attempts_priority_id", "jobs", ["status", "attempts", "priority", "id"])
    op.drop_column("jobs", "turn")
    op.drop_column("jobs", "fair_key")
