"""`hunyuanocr keys` and `hunyuanocr audit`: who may use this machine, and who did what. In the folder where the server runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hunyuanocr.store.database import Database

app = typer.Typer(no_args_is_help=True, help="Keys of devices and programs: create, list, revoke.")


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
    name: Annotated[str, typer.Argument(help="Which device or program gets it.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="read, submit or admin; may be repeated.", show_default="read, submit")
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(help="Whose records it sees: keys of one owner share them.", show_default="the name: its own alone"),
    ] = None,
    days: Annotated[float | None, typer.Option(min=0.001, help="Days after which it ends.", show_default="never")] = None,
) -> None:
    """Make a key and print it, once. The first key of a machine that asked nobody for one makes it ask everybody."""
    from api.auth.api_keys import create_api_key
    from api.auth.identity import DEFAULT_SCOPES, Scope
    from hunyuanocr.cli.common import errors
    from hunyuanocr.clock import utc_now
    from hunyuanocr.store import keys

    try:
        scopes = [Scope(each) for each in scope] if scope else sorted(DEFAULT_SCOPES)
    except ValueError as e:
        raise typer.BadParameter(f"the scopes are {', '.join(Scope)}") from e
    ends = None if days is None else utc_now() + timedelta(days=days)
    text, key = create_api_key(name, owner or name, scopes, expires_at=ends)
    with _database() as database, database.transaction() as conn:
        keys.insert(conn, key)
        _note(conn, key.id, 201)
    errors.print(f"Key {key.id} of {key.owner}, told only now:")
    typer.echo(text)


def _note(conn: Connection, id: str, status: int) -> None:
    """A line in the audit log, as the route of the API leaves one."""
    import os

    from hunyuanocr.clock import utc_now
    from hunyuanocr.store import audit
    from hunyuanocr.store.ids import new_id

    who, what = f"command line, user {os.getuid()}", f"/v1/admin/keys/{id}"
    audit.append(conn, [audit.AuditEntry(new_id(), "local", utc_now(), who, "", "admin", what, status, 1, "")])


@app.command("list")
def listed() -> None:
    """All keys, those that have ended too, as lines with tabs between: id, name, owner, scopes, made, ends, used last."""
    from hunyuanocr.clock import utc_now
    from hunyuanocr.store import keys

    with _database() as database, database.read_transaction() as conn:
        found = keys.list_all(conn)
    now = utc_now()
    for key in found:
        ends = "revoked" if key.revoked_at else _moment(key.expires_at) if key.is_active(now) else "ended"
        cells = (key.id, key.name, key.owner, " ".join(key.scopes), _moment(key.created_at), ends, _moment(key.seen_at))
        typer.echo("\t".join(cells))


@app.command("revoke")
def revoke(id: Annotated[str, typer.Argument(help="As `keys list` shows it.")]) -> None:
    """End a key for good; a running server refuses it from the next second on."""
    from hunyuanocr.cli.common import errors
    from hunyuanocr.clock import utc_now
    from hunyuanocr.errors import NotFound
    from hunyuanocr.store import keys

    with _database() as database, database.transaction() as conn:
        done = keys.revoke(conn, id, utc_now())
        if done:
            _note(conn, id, 204)
    if not done:
        raise NotFound("There is no such key that still holds.", hint="See: hunyuanocr keys list")
    errors.print(f"{id} is revoked.")


def audit(
    most: Annotated[int, typer.Option(min=1, max=100_000, help="How many lines, the latest first.")] = 50,
    owner: Annotated[str | None, typer.Option(help="Of this owner's things.")] = None,
    action: Annotated[
        str | None, typer.Option(help="read, create, delete, export, connect, login, logout, admin, refused.")
    ] = None,
    what: Annotated[str | None, typer.Option(help="The end of an address: a record's id.")] = None,
) -> None:
    """Who did what, as lines with tabs between: time, who, address, action, status, what, how often."""
    from hunyuanocr.store import audit as store

    with _database() as database, database.read_transaction() as conn:
        found = store.list_latest(conn, most, owner=owner, action=action, what=what)
    for line in found:
        cells = (line.at.astimezone().isoformat(timespec="seconds"), line.who or "?", line.address, line.action)
        typer.echo("\t".join((*cells, str(line.status), line.what, str(line.times))))


def _moment(at: datetime | None) -> str:
    return "-" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M}"
