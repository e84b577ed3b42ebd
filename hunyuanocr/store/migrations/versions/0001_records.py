"""Create records, their values, results and the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)
_ID, _OWNER = sa.String(64), sa.String(200)


def upgrade() -> None:
    """Create the tables."""
    _records()
    op.create_table(
        "record_results",
        _of_record(),
        sa.Column("owner", _OWNER, nullable=False),
        sa.Column("result", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("record_id", name="pk_record_results"),
        _to_record("record_results"),
    )
    op.create_table(
        "record_values",
        _of_record(),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("owner", _OWNER, nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("name", sa.String(400), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("normalized", sa.Text),
        sa.PrimaryKeyConstraint("record_id", "position", name="pk_record_values"),
        _to_record("record_values"),
    )
    op.create_index("ix_record_values_owner_name_record_id", "record_values", ["owner", "name", "record_id"])
    op.create_index("ix_record_values_owner_key", "record_values", ["owner", "key"])
    op.create_table(
        "outbox",
        _of_record(),
        sa.Column("owner", _OWNER, nullable=False),
        sa.Column("queued_at", _TIME, nullable=False),
        sa.Column("batch_id", _ID),
        sa.PrimaryKeyConstraint("record_id", name="pk_outbox"),
        _to_record("outbox"),
    )
    op.create_index("ix_outbox_queued_at_record_id", "outbox", ["queued_at", "record_id"])
    op.create_index("ix_outbox_batch_id", "outbox", ["batch_id"])
    op.create_table(
        "state",
        sa.Column("owner", _OWNER, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("value", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("owner", "name", name="pk_state"),
    )


def _records() -> None:
    op.create_table(
        "records",
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner", _OWNER, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("device", sa.String(200)),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("task", sa.String(20), nullable=False),
        sa.Column("instruction", sa.Text, nullable=False),
        sa.Column("backend", sa.String(40), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("pages", sa.Integer, nullable=False),
        sa.Column("confidence", sa.Float),
        sa.Column("confidence_min", sa.Float),
        sa.Column("image", sa.String(64)),
        sa.Column("warnings", _JSON, nullable=False),
        sa.Column("fields", _JSON, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_records"),
    )
    op.create_index("ix_records_owner_created_at_id", "records", ["owner", "created_at", "id"])
    op.create_index("ix_records_owner_device_created_at", "records", ["owner", "device", "created_at"])
    op.create_index("ix_records_image", "records", ["image"])
    op.create_index("ix_records_created_at", "records", ["created_at"])


def _of_record() -> sa.Column[str]:
    return sa.Column("record_id", _ID, nullable=False)


def _to_record(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["record_id"], ["records.id"], name=f"fk_{table}_record_id", ondelete="CASCADE")


def downgrade() -> None:
    """Drop the tables with their content."""
    for table in ("state", "outbox", "record_values", "record_results", "records"):
        op.drop_table(table)
