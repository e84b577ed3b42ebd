"""API keys: their scopes, and how one is created. `api.auth.api_keys` looks them up."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from hunyuanocr.clock import utc_now
from hunyuanocr.errors import InvalidValue
from hunyuanocr.store.keys import NAME, ApiKeyRow

PREFIX = "hyo_"
_SECRET_BYTES = 32


class Scope(StrEnum):
    """Permissions of a key or token; `admin` includes the others."""

    READ = "read"  # records, jobs, results
    SUBMIT = "submit"  # recognise images, delete own data, use the web page
    ADMIN = "admin"  # keys, models, audit log, synchronisation


ALL_SCOPES = frozenset(Scope)
DEFAULT_SCOPES = frozenset({Scope.READ, Scope.SUBMIT})


def create_api_key(
    name: str, owner: str, scopes: Iterable[Scope], *, expires_at: datetime | None = None
) -> tuple[str, ApiKeyRow]:
    """Return the text of a new key (256 random bits) and its row for the database, which has only a hash of the text.

    Raises InvalidValue for a name, owner, set of scopes or end that cannot be used.
    """
    for label, value in (("name", name), ("owner", owner)):
        if not NAME.fullmatch(value):
            raise InvalidValue(
                f"This {label} is not valid.",
                hint="Use 1 to 100 characters: letters, digits and . : @ / + - _; start with a letter or digit.",
            )
    granted = tuple(sorted(set(scopes)))
    if not granted:
        raise InvalidValue("The key has no scope.", hint=f"Give one or more of: {', '.join(Scope)}.")
    now = utc_now()
    if expires_at is not None and expires_at <= now:
        raise InvalidValue("The expiry time is in the past.", hint="Give a time in the future.")
    id = secrets.token_hex(6)
    text = f"{PREFIX}{id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return text, ApiKeyRow(id, owner, name, hash_secret(text), granted, now, expires_at)


def hash_secret(text: str) -> str:
    """Return the SHA-256 of a key or ticket, in hexadecimal. They are random, so that a slow password hash would add nothing."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
