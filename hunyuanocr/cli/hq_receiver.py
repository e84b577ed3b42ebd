"""The reference receiver: unseals a batch, keeps every record once by its id, and confirms only what is on the disk."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from nacl.public import PrivateKey

from hunyuanocr.errors import BadRequest
from hunyuanocr.services.encryption import decrypt_batch

_MAX_BYTES = 16 * 1024 * 1024
_TABLE = """CREATE TABLE IF NOT EXISTS records (
    site TEXT NOT NULL, id TEXT NOT NULL, batch TEXT NOT NULL, created_at TEXT NOT NULL, received_at TEXT NOT NULL,
    record TEXT NOT NULL, PRIMARY KEY (site, id))"""


def create_receiver(key: PrivateKey, database: Path, token: str | None = None) -> FastAPI:
    """One route, `POST /v1/batches`. Two batches, or one twice, may come at once. 200 with the batch's id says: it is kept."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/v1/batches")
    async def receive(request: Request) -> JSONResponse:
        given = request.headers.get("authorization", "")
        if token is not None and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return JSONResponse({"detail": "The token is not the one that is expected here."}, 401)
        sealed = bytearray()
        async for part in request.stream():
            sealed += part
            if len(sealed) > _MAX_BYTES:
                return JSONResponse({"detail": "The batch is too large."}, 413)
        try:
            batch, new = await asyncio.to_thread(keep, bytes(sealed), key, database)
        except BadRequest as e:
            return JSONResponse({"detail": e.message, "hint": e.hint}, 400)
        except sqlite3.Error as e:  # full, locked: the sender comes again
            return JSONResponse({"detail": str(e)}, 503, {"Retry-After": "60"})
        return JSONResponse({"batch": batch, "new": new})

    return app


def keep(sealed: bytes, key: PrivateKey, database: Path) -> tuple[str, int]:
    """Blocking. The batch's id and how many of its records were new. Raises BadRequest, and sqlite3's errors."""
    batch = decrypt_batch(sealed, key)
    now = datetime.now(UTC).isoformat()
    try:
        site, name = _word(batch["site"]), _word(batch["batch"])
        rows = [(site, _word(r["id"]), name, _word(r["created_at"]), now, _word(_json(r))) for r in batch["records"]]
    except (KeyError, TypeError, UnicodeEncodeError) as e:
        raise BadRequest("The batch has not the form that is expected here.") from e
    with suppress(OSError):  # it is there already, or SQLite tells what is wrong
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(_TABLE)
        before = connection.total_changes
        connection.executemany("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?)", rows)
        new = connection.total_changes - before
    return name, new


def _word(value: Any) -> str:
    """Raises TypeError and UnicodeEncodeError for what the table would not take, or would drop without a word."""
    if not isinstance(value, str):
        raise TypeError
    value.encode()
    return value


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)
