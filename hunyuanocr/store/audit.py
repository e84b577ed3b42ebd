"""The audit log: who read, made, deleted or took away what. Ids and addresses, never a text, a picture or an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Connection, Index, Integer, String, Table, delete, select

from hunyuanocr.store.ids import new_id
from hunyuanocr.store.tables import Id, Owner, Utc, metadata

audit = Table(
    "audit", metadata,
    Column("id", Id, primary_key=True),
    Column("owner", Owner, nullable=False),  # whose things; "" where nobody was known
    Column("at", Utc, nullable=False),
    Column("who", String(200), nullable=False),  # the key's name, a token's subject, device:<address>, local, webhook, sync
    Column("address", String(64), nullable=False),  # where it came from; of what was sent, where it went
    Column("action", String(20), nullable=False),  # read, create, delete, export, send, connect, login, logout, admin, refused
    Column("what", String(200), nullable=False),  # an address of the API, without its query
    Column("status", Integer, nullable=False),  # of HTTP
    Column("times", Integer, nullable=False),  # so often within a second or two
    Column("request_id", String(64), nullable=False),  # of the first of them
    Index(None, "at"),
    Index(None, "owner", "id"),
)  # fmt: skip


@dataclass(frozen=True)
class AuditEntry:
    """One line of the log."""

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
    """What left the machine by itself: `who` is webhook or sync, `to` a host, `message` the id under which it went."""
    return AuditEntry(new_id(), owner, at, who, to[:64], "send", what, status, 1, message)


def append(conn: Connection, entries: Sequence[AuditEntry]) -> None:
    """Write lines; none is ever changed."""
    if entries:
        conn.execute(audit.insert(), [vars(entry) for entry in entries])


def list_latest(
    conn: Connection, most: int, *, owner: str | None = None, action: str | None = None, what: str | None = None,
    before: str | None = None,
) -> list[AuditEntry]:  # fmt: skip
    """At most `most` lines, the newest first. `what` is the end of an address, as a record's id; `before` a line's id."""
    query = select(audit).order_by(audit.c.id.desc()).limit(most)
    for column, wanted in ((audit.c.owner, owner), (audit.c.action, action)):
        if wanted is not None:
            query = query.where(column == wanted)
    if what is not None:
        query = query.where(audit.c.what.endswith(what, autoescape=True))
    if before is not None:
        query = query.where(audit.c.id < before)
    return [AuditEntry(**row._mapping) for row in conn.execute(query)]


def delete_older(conn: Connection, before: datetime, most: int) -> int:
    """Delete at most `most` lines from before a moment, the oldest first; how many."""
    old = select(audit.c.id).where(audit.c.at < before).order_by(audit.c.at).limit(most)
    return conn.execute(delete(audit).where(audit.c.id.in_(old))).rowcount
