"""The tables. Every change also needs a revision in `migrations/versions`; a test compares the two.

Times are timezone-aware UTC (`Utc`), ids are text (`ids.new_id`, or the id of a Result), and every row has an owner.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

from hunyuanocr.store.text import clean_text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class CleanString(TypeDecorator[str]):
    """Text of a limited length. What no database accepts is replaced (`clean_text`), also where it is only compared."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the value for the database."""
        return None if value is None else clean_text(value)


class CleanText(CleanString):
    """The same without a limit."""

    impl = Text
    cache_ok = True


Id = CleanString(64)
Owner = CleanString(200)


class Utc(TypeDecorator[datetime]):
    """A point in time. Refuses times without a zone; returns UTC, whatever the database stores."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return the value for the database. SQLite stores text without a zone, always UTC, which sorts by time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the value with its time zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


records = Table(
    "records",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner", Owner, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("device", CleanString(200)),
    Column("source", CleanString(20), nullable=False),  # ocr, chat, job, page, watch, ws
    Column("task", CleanString(20), nullable=False),
    Column("instruction", CleanText, nullable=False),
    Column("backend", CleanString(40), nullable=False),
    Column("model", CleanString(200), nullable=False),
    Column("pages", Integer, nullable=False),
    Column("confidence", Float),  # mean of the lines, 0…1
    Column("confidence_min", Float),
    Column("image", CleanString(64)),  # SHA-256 of the stored image, or null
    Column("warnings", Json, nullable=False),
    Column("fields", Json, nullable=False),  # as printed, as in the response
    Column("text", CleanText, nullable=False),
    Index(None, "owner", "created_at", "id"),
    Index(None, "owner", "device", "created_at"),
    Index(None, "image"),
    Index(None, "created_at"),
)

# The complete results, separate from the searched columns, so that a scan through texts does not read them.
results = Table(
    "record_results",
    metadata,
    Column("record_id", Id, ForeignKey("records.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", Owner, nullable=False),
    Column("result", Json, nullable=False),
)

# One row per value, so that an index finds values; a field with rows (`items`) has `items.name`, `items.amount` …
values = Table(
    "record_values",
    metadata,
    Column("record_id", Id, ForeignKey("records.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("owner", Owner, nullable=False),
    Column("key", CleanString(200), nullable=False),  # as in the response: `items`
    Column("name", CleanString(400), nullable=False),  # `items.amount`; for a plain field the key itself
    Column("value", CleanText, nullable=False),  # as printed
    Column("normalized", CleanText),  # as text: '36.80', '2026-11-20'
    Index(None, "owner", "name", "record_id"),
    Index(None, "owner", "key"),
)

# Records that HQ has not received; written in the record's transaction, deleted when HQ confirms it, or with the record.
outbox = Table(
    "outbox",
    metadata,
    Column("record_id", Id, ForeignKey("records.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", Owner, nullable=False),
    Column("queued_at", Utc, nullable=False),
    Column("batch_id", Id),  # unconfirmed batch in which it was sent
    Index(None, "queued_at", "record_id"),
    Index(None, "batch_id"),
)

# State that survives restarts, such as the time of the last retention sweep or of the last sync.
state = Table(
    "state",
    metadata,
    Column("owner", Owner, primary_key=True),
    Column("name", CleanString(100), primary_key=True),
    Column("value", Json, nullable=False),
)
jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner", Owner, nullable=False),
    Column("batch_id", Id),
    Column("name", CleanText),  # of the file in its batch
    Column("created_at", Utc, nullable=False),
    Column("status", CleanString(10), nullable=False),  # arriving, queued, running, done, failed, cancelled
    Column("priority", Integer, nullable=False),
    Column("params", Json, nullable=False),  # parameters of the request
    Column("device", CleanString(200)),
    Column("size", Integer, nullable=False),  # bytes of the file
    Column("webhook", CleanText),  # URL to notify when the job ends
    Column("attempts", Integer, nullable=False),
    Column("worker", CleanString(200)),
    Column("lease_until", Utc),
    Column("started_at", Utc),
    Column("finished_at", Utc),
    Column("pages", Integer),
    Column("error", Json),  # code, detail, hint
    Column("fair_key", Owner, nullable=False, server_default=""),  # identifies the client for fairness (store.jobqueue)
    Column("turn", BigInteger, nullable=False, server_default="0"),
    Index(None, "status", "attempts", "turn", "id"),
    Index(None, "status", "fair_key", "attempts", "priority", "id", "turn", "size"),
    Index(None, "fair_key", "turn"),
    Index(None, "owner", "id"),
    Index(None, "batch_id", "id"),
    Index(None, "finished_at"),
)
inputs = Table(
    "job_inputs",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", Owner, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
# Idempotency keys; `target` is the id of the job or batch that was created with the key.
keys = Table(
    "job_keys",
    metadata,
    Column("owner", Owner, primary_key=True),
    Column("key", CleanString(200), primary_key=True),
    Column("fingerprint", CleanString(64), nullable=False),
    Column("target", Id, nullable=False),
    Column("created_at", Utc, nullable=False),
    Index(None, "created_at"),
)
