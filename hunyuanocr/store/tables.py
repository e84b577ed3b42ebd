"""The tables. What is written here is also written in a revision under `migrations/versions`; a test compares the two.

Times are UTC and timezone-aware (`Utc`), ids are text (`ids.new_id`, or the id of a Result), and every row has an owner.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Column, DateTime, Dialect, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

metadata = MetaData(naming_convention={
    "ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s", "fk": "fk_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s",
})  # fmt: skip

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Id = String(64)
Owner = String(200)


class Utc(TypeDecorator[datetime]):
    """A moment. Refuses times without a zone; gives UTC back, whatever the database keeps."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """SQLite's text has no zone: it is UTC by our word, and sorts as the time does."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Always with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


records = Table(
    "records", metadata,
    Column("id", Id, primary_key=True),
    Column("owner", Owner, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("device", String(200)),
    Column("source", String(20), nullable=False),  # ocr, chat, job, page, watch, ws
    Column("task", String(20), nullable=False),
    Column("instruction", Text, nullable=False),
    Column("backend", String(40), nullable=False),
    Column("model", String(200), nullable=False),
    Column("pages", Integer, nullable=False),
    Column("confidence", Float),  # mean of the lines', 0…1
    Column("confidence_min", Float),
    Column("image", String(64)),  # SHA-256 of the kept picture, or none
    Column("warnings", Json, nullable=False),
    Column("fields", Json, nullable=False),  # as printed, as in the answer
    Column("text", Text, nullable=False),
    Index(None, "owner", "created_at", "id"),
    Index(None, "owner", "device", "created_at"),
    Index(None, "image"),
    Index(None, "created_at"),
)  # fmt: skip

# The whole answer, apart from what is searched: a scan through texts does not read it.
results = Table(
    "record_results", metadata,
    Column("record_id", Id, ForeignKey("records.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", Owner, nullable=False),
    Column("result", Json, nullable=False),
)  # fmt: skip

# One row a value, so that values are found by an index; a field of rows (`items`) gives `items.name`, `items.amount` …
values = Table(
    "record_values", metadata,
    Column("record_id", Id, ForeignKey("records.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("owner", Owner, nullable=False),
    Column("key", String(200), nullable=False),  # of the answer: `items`
    Column("name", String(400), nullable=False),  # `items.amount`; of a plain field the key itself
    Column("value", Text, nullable=False),  # as printed
    Column("normalized", Text),  # as text: '36.80', '2026-11-20'
    Index(None, "owner", "name", "record_id"),
    Index(None, "owner", "key"),
)  # fmt: skip

# What HQ has not got yet; written in the record's own transaction, and gone when HQ has it, or with its record.
outbox = Table(
    "outbox", metadata,
    Column("record_id", Id, ForeignKey("records.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", Owner, nullable=False),
    Column("queued_at", Utc, nullable=False),
    Column("batch_id", Id),  # of the batch that it was sent in and that HQ has not confirmed
    Index(None, "queued_at", "record_id"),
    Index(None, "batch_id"),
)  # fmt: skip

# Small facts that outlive the process: when was swept, when HQ last answered.
state = Table(
    "state", metadata,
    Column("owner", Owner, primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("value", Json, nullable=False),
)  # fmt: skip
