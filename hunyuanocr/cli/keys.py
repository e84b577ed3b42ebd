"""`hunyuanocr keys` and `hunyuanocr audit`: manage API keys, print the audit log. Run them in the folder of the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hunyuanocr.store.database import Database

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys of devices and programs.")


@contextmanager
def _database() -> Iterator[Database]:
    from hunyuanocr.config import load_settings
    from hunyuanocr.store.database import Database

    database = Database(load_settings().database_url)
    try:
        yield database
    finally:
        database.close()


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Name of the device or program that uses the key.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="Scope: read, submit or admin; repeatable.", show_default="read, submit")
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(help="Owner of the records; keys with the same owner share them.", show_default="name of the key"),
    ] = None,
    days: Annotated[float | None, typer.Option(min=0.001, help="Days until the key expires.", show_default="never")] = None,
) -> None:
    """Create a key and print it once. The first key of an appliance without authentication makes authentication required."""
    from hunyuanocr.cli.common import errors
    from hunyuanocr.clock import utc_now
    from hunyuanocr.services.api_keys import DEFAULT_SCOPES, Scope, create_api_key
    from hunyuanocr.store import keys

    try:
        scopes = [Scope(each) for each in scope] if scope else sorted(DEFAULT_SCOPES)
    except ValueError as e:
        raise typer.BadParameter(f"must be one of {', '.join(Scope)}", param_hint="--scope") from e
    expires_at = None if days is None else utc_now() + timedelta(days=days)
    text, key = create_api_key(name, owner or name, scopes, expires_at=expires_at)
    with _database() as database, database.transaction() as conn:
        keys.insert(conn, key)
        _write_audit(conn, key.id, 201)
    errors.print(f"Key {key.id} of {key.owner}; it is not shown again:")
    typer.echo(text)


def _write_audit(conn: Connection, id: str, status: int) -> None:
    """Append the audit entry that the API route would write."""
    import os

    from hunyuanocr.clock import utc_now
    from hunyuanocr.ids import new_id
    from hunyuanocr.store import audit

    who, what = f"command line, user {os.getuid()}", f"/v1/admin/keys/{id}"
    audit.append(conn, [audit.AuditEntry(new_id(), "local", utc_now(), who, "", "admin", what, status, 1, "")])


@app.command("list")
def list_keys() -> None:
    """List all keys, including expired and revoked ones, tab-separated: id, name, owner, scopes, created, expires, last used."""
    from hunyuanocr.clock import utc_now
    from hunyuanocr.store import keys

    with _database() as database, database.read_transaction() as conn:
        rows = keys.list_all(conn)
    now = utc_now()
    for key in rows:
        expires = "revoked" if key.revoked_at else _format_time(key.expires_at) if key.is_active(now) else "expired"
        scopes, created = " ".join(key.scopes), _format_time(key.created_at)
        typer.echo("\t".join((key.id, key.name, key.owner, scopes, created, expires, _format_time(key.seen_at))))


@app.command("revoke")
def revoke(id: Annotated[str, typer.Argument(help="Id of the key; see `keys list`.")]) -> None:
    """Revoke a key permanently; a running server refuses it within a second."""
    from hunyuanocr.cli.common import errors
    from hunyuanocr.clock import utc_now
    from hunyuanocr.errors import NotFound
    from hunyuanocr.store import keys

    with _database() as database, database.transaction() as conn:
        done = keys.revoke(conn, id, utc_now())
        if done:
            _write_audit(conn, id, 204)
    if not done:
        raise NotFound("No active key with this id.", hint="List the keys: hunyuanocr keys list")
    errors.print(f"Key {id} revoked.")


def audit(
    limit: Annotated[int, typer.Option("--most", min=1, max=100_000, help="Maximum number of entries, newest first.")] = 50,
    owner: Annotated[str | None, typer.Option(help="Only entries about data of this owner.")] = None,
    action: Annotated[
        str | None,
        typer.Option(help="Only this action: read, create, delete, export, connect, login, logout, admin or refused."),
    ] = None,
    what: Annotated[str | None, typer.Option(help="Only paths that end with this text, for example a record id.")] = None,
) -> None:
    """Print the audit log, tab-separated: time, user, client address, action, status, path, count."""
    from hunyuanocr.store import audit as store

    with _database() as database, database.read_transaction() as conn:
        entries = store.list_latest(conn, limit, owner=owner, action=action, what=what)
    for entry in entries:
        cells = (entry.at.astimezone().isoformat(timespec="seconds"), entry.who or "?", entry.address, entry.action)
        typer.echo("\t".join((*cells, str(entry.status), entry.what, str(entry.times))))


def _format_time(at: datetime | None) -> str:
    return "-" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M}"
