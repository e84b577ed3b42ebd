"""The tables of jobs; also written in a revision under `migrations/versions`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from hunyuanocr.store.tables import Id, Json, Owner, Utc, metadata

jobs = Table(
    "jobs", metadata,
    Column("id", Id, primary_key=True),
    Column("owner", Owner, nullable=False),
    Column("batch_id", Id),
    Column("name", Text),  # of the file in its batch
    Column("created_at", Utc, nullable=False),
    Column("status", String(10), nullable=False),  # arriving, queued, running, done, failed, cancelled
    Column("priority", Integer, nullable=False),
    Column("wanted", Json, nullable=False),  # what was asked for
    Column("device", String(200)),
    Column("size", Integer, nullable=False),  # bytes of the picture
    Column("webhook", Text),  # where its end is told
    Column("attempts", Integer, nullable=False),
    Column("worker", String(200)),
    Column("lease_until", Utc),
    Column("started_at", Utc),
    Column("finished_at", Utc),
    Column("pages", Integer),
    Column("error", Json),  # code, detail, hint
    Column("fair_key", Owner, nullable=False, server_default=""),  # among whose jobs its turn is counted (store.jobqueue)
    Column("turn", BigInteger, nullable=False, server_default="0"),
    Index(None, "status", "attempts", "turn", "id"),
    Index(None, "status", "fair_key", "attempts", "priority", "id", "turn", "size"),
    Index(None, "fair_key", "turn"),
    Index(None, "owner", "id"),
    Index(None, "batch_id", "id"),
    Index(None, "finished_at"),
)  # fmt: skip

inputs = Table(
    "job_inputs", metadata,
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", Owner, nullable=False),
    Column("data", LargeBinary, nullable=False),
)  # fmt: skip

# Idempotency keys; `target` is the id of the job or batch that was made with the key.
keys = Table(
    "job_keys", metadata,
    Column("owner", Owner, primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("target", Id, nullable=False),
    Column("created_at", Utc, nullable=False),
    Index(None, "created_at"),
)  # fmt: skip
