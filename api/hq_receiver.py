"""`hunyuanocr hq-receiver`: decrypt batches, store each record once by its id, and confirm only what is on disk."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import socket
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from nacl.public import PrivateKey

from api.network import NetworkLimits
from api.uvicorn_config import uvicorn_options
from hunyuanocr.config import load_settings
from hunyuanocr.errors import BadRequest, ConfigError
from hunyuanocr.services.encryption import decrypt_batch, private_key

_MAX_BATCH_BYTES = 16 * 1024 * 1024
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TABLE = """CREATE TABLE IF NOT EXISTS records (
    site TEXT NOT NULL, id TEXT NOT NULL, batch TEXT NOT NULL, created_at TEXT NOT NULL, received_at TEXT NOT NULL,
    record TEXT NOT NULL, PRIMARY KEY (site, id))"""


def create_receiver(key: PrivateKey, database: Path, token: str | None = None) -> FastAPI:
    """Return an app with one route, `POST /v1/batches`. A response 200 with the batch's id confirms that it is stored.

    Concurrent and repeated batches are allowed.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    one_at_a_time = asyncio.Lock()  # bounds the memory of unpacked batches; SQLite has one writer anyway

    @app.post("/v1/batches")
    async def receive(request: Request) -> JSONResponse:
        authorization = request.headers.get("authorization", "")
        if token is not None and not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            return JSONResponse({"detail": "Invalid token."}, 401)
        encrypted = bytearray()
        async for chunk in request.stream():
            encrypted += chunk
            if len(encrypted) > _MAX_BATCH_BYTES:
                return JSONResponse({"detail": "The batch is too large."}, 413)
        try:
            async with one_at_a_time:
                batch, new = await asyncio.to_thread(store_batch, bytes(encrypted), key, database)
        except BadRequest as e:
            return JSONResponse({"detail": e.message, "hint": e.hint}, 400)
        except sqlite3.Error as e:  # full or locked: the sender retries
            return JSONResponse({"detail": str(e)}, 503, {"Retry-After": "60"})
        return JSONResponse({"batch": batch, "new": new})

    return app


def store_batch(encrypted: bytes, key: PrivateKey, database: Path) -> tuple[str, int]:
    """Return the batch's id and the number of new records. Blocking. Raises BadRequest and sqlite3.Error."""
    batch = decrypt_batch(encrypted, key)
    now = datetime.now(UTC).isoformat()
    try:
        site, name = _checked(batch["site"]), _checked(batch["batch"])
        rows = [(site, _checked(r["id"]), name, _checked(r["created_at"]), now, _checked(_json(r))) for r in batch["records"]]
    except (KeyError, TypeError, UnicodeEncodeError) as e:
        raise BadRequest("The batch does not have the expected format.") from e
    with suppress(OSError):  # the file exists, or SQLite reports the error
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(_TABLE)
        before = connection.total_changes
        connection.executemany("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?)", rows)
        new = connection.total_changes - before
    return name, new


def _checked(value: Any) -> str:
    """Return a string that SQLite stores unchanged. Raises TypeError and UnicodeEncodeError for anything else."""
    if not isinstance(value, str):
        raise TypeError
    value.encode()
    return value


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)


def receive(
    *,
    key: Annotated[Path, typer.Option("--key", help="File of the private key; keep it at HQ only.")] = Path("hq.key"),
    database: Annotated[Path, typer.Option(help="SQLite file to which received records are added.")] = Path("hq.db"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 uses a free one.")] = 9443,
    token_file: Annotated[Path | None, typer.Option(help="File with the bearer token that senders must send.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file of the TLS certificate, for HTTPS.")] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="PEM file of the private key of the certificate.")] = None,
) -> None:
    """Receive encrypted batches of records and store each record once. A reference implementation of the HQ side."""
    if (certificate is None) != (certificate_key is None):
        raise typer.BadParameter("--certificate and --certificate-key must be used together")
    token = None if token_file is None else _read(token_file)
    if not token and (token_file is not None or host not in _LOOPBACK):
        raise ConfigError("A token is required if other machines can connect.", hint="Use --token-file with a non-empty file.")
    settings = load_settings(network={"tls_cert": certificate, "tls_key": certificate_key})
    app = create_receiver(private_key(_read(key)), database, token)
    app.state.network = NetworkLimits(settings)  # the same limits for slow and for many clients as in the appliance
    options = uvicorn_options(settings) | {"ws": "none"}
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        scheme = "http" if certificate is None else "https"
        typer.echo(f"Receiving: {scheme}://{host}:{listener.getsockname()[1]}/v1/batches")
        uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning", **options)).run([listener])


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as e:
        raise ConfigError(f"Cannot read {file}: {e.strerror}.", hint="Create keys with: hunyuanocr hq-keys") from e


def main() -> None:
    """Run the receiver with the flags of the command line."""
    app = typer.Typer(add_completion=False)
    app.command()(receive)
    app(prog_name="hunyuanocr hq-receiver")


if __name__ == "__main__":
    main()
