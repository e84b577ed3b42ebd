"""`hunyuanocr hq-keys` and `hunyuanocr hq-receiver`: the receiving side of the sync, for headquarters (HQ)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hunyuanocr.cli.common import errors, run_program

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


def hq_receiver(context: typer.Context) -> None:
    """Receive encrypted batches of records and store each record once. A reference implementation of the HQ side."""
    run_program("api.hq_receiver", context.args)
