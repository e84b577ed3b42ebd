"""The audit log: who read, created, deleted or exported what. Ids and addresses only, never text, images or instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Connection, Index, Integer, Table, delete, select

from hunyuanocr.ids import new_id
from hunyuanocr.store.tables import CleanString, Id, Owner, Utc, metadata

audit = Table(
    "audit",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner", Owner, nullable=False),  # of the data; "" if the client was not identified
    Column("at", Utc, nullable=False),
    Column("who", CleanString(200), nullable=False),  # key name, token subject, device:<address>, local, webhook, sync
    Column("address", CleanString(64), nullable=False),  # of the client; for outgoing data, of the receiver
    Column("action", CleanString(20), nullable=False),  # read, create, delete, export, send, connect, login, logout, …
    Column("what", CleanString(200), nullable=False),  # path of the API, without the query
    Column("status", Integer, nullable=False),  # HTTP status
    Column("times", Integer, nullable=False),  # repetitions within a second or two
    Column("request_id", CleanString(64), nullable=False),  # of the first repetition
    Index(None, "at"),
    Index(None, "owner", "id"),
)


@dataclass(frozen=True)
class AuditEntry:
    """One entry of the log."""

    id: str
    owner: str
    at: datetime
    who: str
    address: str
    action: str
    what: str
    status: int
    times: int
    request_id: str


def outgoing_entry(owner: str, at: datetime, who: str, *, to: str, what: str, status: int, message: str) -> AuditEntry:
    """Return an entry for data sent to `to`, a host: `who` is webhook or sync, `message` the id of the message or batch."""
    return AuditEntry(new_id(), owner, at, who, to[:64], "send", what, status, 1, message)


def append(conn: Connection, entries: Sequence[AuditEntry]) -> None:
    """Write entries; they are never changed."""
    if entries:
        conn.execute(audit.insert(), [vars(entry) for entry in entries])


def list_latest(
    conn: Connection,
    limit: int,
    *,
    owner: str | None = None,
    action: str | None = None,
    what: str | None = None,
    before: str | None = None,
) -> list[AuditEntry]:
    """Return at most `limit` entries, newest first. `what`: end of a path, such as a record id; `before`: id of an entry."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    for column, value in ((audit.c.owner, owner), (audit.c.action, action)):
        if value is not None:
            query = query.where(column == value)
    if what is not None:
        query = query.where(audit.c.what.endswith(what, autoescape=True))
    if before is not None:
        query = query.where(audit.c.id < before)
    return [AuditEntry(**row._mapping) for row in conn.execute(query)]


def delete_older(conn: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` entries from before a time, oldest first; return their number."""
    old = select(audit.c.id).where(audit.c.at < before).order_by(audit.c.at).limit(limit)
    return conn.execute(delete(audit).where(audit.c.id.in_(old))).rowcount
