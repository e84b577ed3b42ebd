"""API keys: what is kept of each, which is never the key itself. Each function runs inside a transaction, session first.

The owner of a key is whose records its bearer sees. Whoever may call these functions administers the appliance: unlike records,
keys are listed whoever owns them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Connection, Index, String, Table, select, update

from hunyuanocr.store.tables import Id, Json, Owner, Utc, metadata

api_keys = Table(
    "api_keys", metadata,
    Column("id", Id, primary_key=True),  # the part of the key that may be shown
    Column("owner", Owner, nullable=False),
    Column("name", String(100), nullable=False),
    Column("hash", String(64), nullable=False),  # SHA-256 of the whole key, which is random
    Column("scopes", Json, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc),
    Column("seen_at", Utc),  # to the minute or so
    Column("revoked_at", Utc),
    Index(None, "owner", "created_at"),
)  # fmt: skip

NAME = re.compile(r"[^\W_][\w .:@/+-]{0,99}")  # of keys and owners: letters of any script, no control characters


@dataclass(frozen=True)
class ApiKeyRow:
    """What is known of a key. Revoked keys stay listed: whose they were is in the audit log."""

    id: str
    owner: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    seen_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_active(self, now: datetime) -> bool:
        """Whether it may be used at that moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def insert(conn: Connection, key: ApiKeyRow) -> None:
    """Keep a new key."""
    row = {name: getattr(key, name) for name in ApiKeyRow.__dataclass_fields__} | {"scopes": list(key.scopes)}
    conn.execute(api_keys.insert().values(row))


def list_all(conn: Connection) -> list[ApiKeyRow]:
    """All keys there ever were, the newest first."""
    rows = conn.execute(select(api_keys).order_by(api_keys.c.created_at.desc(), api_keys.c.id))
    return [ApiKeyRow(**{**row._mapping, "scopes": tuple(row.scopes)}) for row in rows]


def revoke(conn: Connection, id: str, now: datetime) -> bool:
    """End a key for good; False when there is none of this id that still lives."""
    mine = (api_keys.c.id == id, api_keys.c.revoked_at.is_(None))
    return bool(conn.execute(update(api_keys).where(*mine).values(revoked_at=now)).rowcount)


def touch(conn: Connection, moments: Mapping[str, datetime]) -> None:
    """Remember when keys were used last."""
    for id, moment in moments.items():
        conn.execute(update(api_keys).where(api_keys.c.id == id).values(seen_at=moment))
