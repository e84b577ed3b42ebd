"""API keys: the stored data of each, never the key itself. Each function runs inside a transaction.

A key gives access to the records of its owner. These functions are for administrators: unlike records, keys of all owners are
listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Connection, Index, Table, select, update

from hunyuanocr.store.tables import CleanString, Id, Json, Owner, Utc, metadata

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id, primary_key=True),  # the public part of the key
    Column("owner", Owner, nullable=False),
    Column("name", CleanString(100), nullable=False),
    Column("hash", CleanString(64), nullable=False),  # SHA-256 of the whole key, which is random
    Column("scopes", Json, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc),
    Column("seen_at", Utc),  # last use, accurate to about a minute
    Column("revoked_at", Utc),
    Index(None, "owner", "created_at"),
)

NAME = re.compile(r"[^\W_][\w .:@/+-]{0,99}")  # of keys and owners: letters of any script, no control characters


@dataclass(frozen=True)
class ApiKeyRow:
    """Stored data of a key. Revoked keys stay listed, because the audit log refers to them."""

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
        """Return whether the key is valid at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def insert(conn: Connection, key: ApiKeyRow) -> None:
    """Store a new key."""
    row = {name: getattr(key, name) for name in ApiKeyRow.__dataclass_fields__} | {"scopes": list(key.scopes)}
    conn.execute(api_keys.insert().values(row))


def list_all(conn: Connection) -> list[ApiKeyRow]:
    """Return all keys, including revoked ones, newest first."""
    rows = conn.execute(select(api_keys).order_by(api_keys.c.created_at.desc(), api_keys.c.id))
    return [ApiKeyRow(**{**row._mapping, "scopes": tuple(row.scopes)}) for row in rows]


def revoke(conn: Connection, id: str, now: datetime) -> bool:
    """Revoke a key permanently; return False if there is no active key with this id."""
    mine = (api_keys.c.id == id, api_keys.c.revoked_at.is_(None))
    return bool(conn.execute(update(api_keys).where(*mine).values(revoked_at=now)).rowcount)


def touch(conn: Connection, moments: Mapping[str, datetime]) -> None:
    """Store when keys were last used."""
    for id, seen_at in moments.items():
        conn.execute(update(api_keys).where(api_keys.c.id == id).values(seen_at=seen_at))
