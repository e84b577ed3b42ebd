"""`hunyuanocr hq-keys` and `hunyuanocr hq-receiver`: the receiving side of the sync, for headquarters (HQ)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hunyuanocr.cli.common import errors

KeyOption = Annotated[Path, typer.Option("--key", help="File of the private key; keep it at HQ only.")]


def hq_keys(key: KeyOption = Path("hq.key")) -> None:
    """Create the key pair of HQ: the private key in a file readable by its owner only, the public key on stdout.

    Put the public key into the setting 'sync.public_key' of each appliance.
    """
    from hunyuanocr.errors import ConfigError
    from hunyuanocr.services.encryption import generate_keypair

    private, public = generate_keypair()
    try:
        handle = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as e:
        raise ConfigError(f"Cannot create {key}: {e.strerror}.", hint="An existing key is never overwritten.") from e
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(private + "\n")
    errors.print(f"Private key written to {key}. Keep a copy: without it, received data cannot be decrypted. Public key:")
    typer.echo(public)


def hq_receiver(
    key: KeyOption = Path("hq.key"),
    database: Annotated[Path, typer.Option(help="SQLite file to which received records are added.")] = Path("hq.db"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 uses a free one.")] = 9443,
    token_file: Annotated[Path | None, typer.Option(help="File with the bearer token that senders must send.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file of the TLS certificate, for HTTPS.")] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="PEM file of the private key of the certificate.")] = None,
) -> None:
    """Receive encrypted batches of records and store each record once. A reference implementation of the HQ side."""
    import socket

    import uvicorn

    from api.network import NetworkLimits
    from api.uvicorn_config import uvicorn_options
    from hunyuanocr.cli.hq_receiver import create_receiver
    from hunyuanocr.config import Settings
    from hunyuanocr.config.network import NetworkSettings
    from hunyuanocr.errors import ConfigError
    from hunyuanocr.services.encryption import private_key

    if (certificate is None) != (certificate_key is None):
        raise typer.BadParameter("--certificate and --certificate-key must be used together")
    token = None if token_file is None else _content(token_file)
    if not token and (token_file is not None or host not in ("127.0.0.1", "::1", "localhost")):
        raise ConfigError("A token is required if other machines can connect.", hint="Use --token-file with a non-empty file.")
    settings = Settings(network=NetworkSettings(tls_cert=certificate, tls_key=certificate_key))
    options = uvicorn_options(settings) | {"ws": "none"}  # the same limits for slow and many clients as in the appliance
    app = create_receiver(private_key(_content(key)), database, token)
    app.state.network = NetworkLimits(settings)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        scheme = "http" if certificate is None else "https"
        typer.echo(f"Receiving: {scheme}://{host}:{listener.getsockname()[1]}/v1/batches")
        uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning", **options)).run([listener])


def _content(file: Path) -> str:
    from hunyuanocr.errors import ConfigError

    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as e:
        raise ConfigError(f"Cannot read {file}: {e.strerror}.", hint="Create keys with: hunyuanocr hq-keys") from e
