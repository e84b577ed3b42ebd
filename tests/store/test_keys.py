"""Keys and the audit log in the database, of both kinds."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from hunyuanocr.store import audit, keys
from hunyuanocr.store.audit import AuditEntry
from hunyuanocr.store.database import Database
from hunyuanocr.store.keys import NAME, ApiKeyRow
from tests.store.results import NOON


def key(id: str = "abc", **other: Any) -> ApiKeyRow:
    usual: dict[str, Any] = {"owner": "shop", "name": "收银台1", "hash": "0" * 64, "scopes": ("read",), "created_at": NOON}
    return ApiKeyRow(**usual | {"id": id} | other)


def line(n: int, what: str, owner: str = "shop", action: str = "read") -> AuditEntry:
    return AuditEntry(f"{n:032x}", owner, NOON, "till", "10.0.0.1", action, what, 200, 1, "r")


def test_a_key_comes_back_as_it_was_and_ends_once(database: Database) -> None:
    made = key(expires_at=NOON + timedelta(days=1))
    with database.transaction() as conn:
        keys.insert(conn, made)
        assert keys.list_all(conn) == [made]
        keys.touch(conn, {"abc": NOON, "unknown": NOON})
        assert keys.revoke(conn, "abc", NOON)
        assert not keys.revoke(conn, "abc", NOON + timedelta(days=1))
        assert not keys.revoke(conn, "unknown", NOON)
        (ended,) = keys.list_all(conn)
    assert (ended.seen_at, ended.revoked_at) == (NOON, NOON)
    assert made.is_active(NOON)
    assert not made.is_active(NOON + timedelta(days=1))
    assert not ended.is_active(NOON)
    with pytest.raises(IntegrityError), database.transaction() as conn:
        keys.insert(conn, made)


@pytest.mark.parametrize(("name", "good"), [
    ("till-1", True), ("收银台1", True), ("a", True), ("x" * 100, True), ("x" * 101, False), ("", False), (" a", False),
    ("a\n", False),
    ("a\x00", False), ("a\u202e", False), ("-", False), ("a;b", False),
])  # fmt: skip
def test_names_of_keys(name: str, good: bool) -> None:
    assert bool(NAME.fullmatch(name)) == good


def test_the_log_is_searched(database: Database) -> None:
    lines = [
        line(1, "/v1/records/1"),
        line(2, "/v1/records/2", "other"),
        line(3, "/v1/records/1", action="delete"),
        line(4, "/v1/records/1_"),
    ]
    with database.transaction() as conn:
        audit.append(conn, lines)
        audit.append(conn, [])
        assert audit.list_latest(conn, 9) == lines[::-1]
        assert audit.list_latest(conn, 1, before=lines[1].id) == [lines[0]]
        assert audit.list_latest(conn, 9, owner="other") == [lines[1]]
        assert audit.list_latest(conn, 9, what="1", action="delete") == [lines[2]]
        assert audit.list_latest(conn, 9, what="_") == [lines[3]], "not any character"
        assert audit.delete_older(conn, NOON, 9) == 0
        assert audit.delete_older(conn, NOON + timedelta(seconds=1), 3) == 3
        assert audit.list_latest(conn, 9) == [lines[3]]
