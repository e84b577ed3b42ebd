"""Rename columns: parameters of a job (`wanted` to `params`), error of a webhook (`trouble` to `last_error`)."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Rename the columns; their values stay."""
    op.alter_column("jobs", "wanted", new_column_name="params")
    op.alter_column("job_webhooks", "trouble", new_column_name="last_error")


def downgrade() -> None:
    """Restore the old names."""
    op.alter_column("jobs", "params", new_column_name="wanted")
    op.alter_column("job_webhooks", "last_error", new_column_name="trouble")
