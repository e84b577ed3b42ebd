"""Sessions of the web page: a signed cookie with an API key id or the claims of a token, and the time of expiry."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from api.auth.api_keys import ApiKeyCache, identity_of_key
from api.auth.identity import Identity
from hunyuanocr.clock import Clock
from hunyuanocr.files import write_atomic
from hunyuanocr.services.api_keys import Scope

log = logging.getLogger(__name__)

COOKIE = "hunyuanocr_session"
_SECRET_BYTES = 32
_MAX_COOKIE_LENGTH = 2048


class SessionCookies:
    """Creates, verifies and revokes session cookies. A session is valid as long as its key is, and for at most `hours`.

    `secret` is the file with the signing key, created at the first login. Sessions survive a restart, and a copy of the database
    alone gives no access. The revoked sessions are in a file in the same folder.
    """

    def __init__(self, api_keys: ApiKeyCache, secret: Path, hours: float, clock: Clock | None = None) -> None:
        self._api_keys = api_keys
        self.clock = clock or Clock()
        self._file = secret
        self._seconds = 3600 * hours
        self._serializer: URLSafeSerializer | None = None
        self._revoked_file = secret.with_name(f"{secret.stem}.ended")
        self.revoked: dict[str, float] = {}  # id of a revoked session: its time of expiry
        self._revoke_lock = threading.Lock()

    def create(self, identity: Identity) -> tuple[str, int]:
        """Return a new cookie for the identity, and its lifetime in seconds."""
        now = self.clock.now().timestamp()
        until = min(now + self._seconds, identity.until or float("inf"))
        claims = {"k": identity.key} if identity.key else {"o": identity.owner, "n": identity.name, "s": sorted(identity.scopes)}
        cookie = self._signer().dumps(claims | {"i": secrets.token_hex(8), "x": until})
        return str(cookie), max(0, int(until - now))

    async def identity(self, cookie: str) -> Identity | None:
        """Return the identity of a session; None if the cookie is invalid, expired or revoked. Raises StoreUnavailable."""
        claims = self._verified_claims(cookie)
        if claims is None:
            return None
        if "k" in claims:
            key = await self._api_keys.by_id(claims["k"])
            return None if key is None else replace(identity_of_key(key), until=claims["x"], ambient=True)
        scopes = frozenset(Scope(scope) for scope in claims["s"])
        return Identity(claims["o"], claims["n"], scopes, "token", until=claims["x"], ambient=True)

    def is_forged(self, cookie: str) -> bool:
        """Return whether the cookie was not issued here. Expired and revoked cookies are not forged."""
        return self._signed_claims(cookie) is None

    def revoke(self, cookie: str) -> None:
        """Revoke a session permanently, also for copies of the cookie and after a restart. Blocking: writes to the disk."""
        claims = self._verified_claims(cookie)
        if claims is None:
            return
        with self._revoke_lock:
            now = self.clock.trusted()  # a system clock that jumps ahead for a while must not discard logouts
            expired_before = 0.0 if now is None else now.timestamp()
            revoked = {id: until for id, until in self.revoked.items() if until > expired_before} | {claims["i"]: claims["x"]}
            self.revoked = revoked
            try:
                write_atomic(self._revoked_file, json.dumps(revoked).encode(), mode=0o600)
            except OSError as e:
                log.warning(
                    "A logout is valid until the next restart only: cannot write %s (%s).", self._revoked_file, e.strerror
                )

    def _verified_claims(self, cookie: str) -> dict[str, Any] | None:
        claims = self._signed_claims(cookie)
        expired = claims is None or claims["x"] <= self.clock.now().timestamp() or claims["i"] in self.revoked
        return None if expired else claims

    def _signed_claims(self, cookie: str) -> dict[str, Any] | None:
        if len(cookie) > _MAX_COOKIE_LENGTH or not cookie.isascii():
            return None
        try:
            return dict(self._signer().loads(cookie))
        except BadData:
            return None

    def _signer(self) -> URLSafeSerializer:
        if self._serializer is None:
            options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
            self._serializer = URLSafeSerializer(self._load_secret(), "hunyuanocr session", signer_kwargs=options)
        return self._serializer

    def _load_secret(self) -> bytes:
        """Load the revoked sessions and return the signing key. If the revoked sessions are unreadable, replace the key."""
        try:
            self.revoked = {str(id): float(until) for id, until in json.loads(self._revoked_file.read_bytes()).items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError):
            log.warning("All users of the web page are logged out: %s is damaged.", self._revoked_file)
            secret = secrets.token_bytes(_SECRET_BYTES)
            with suppress(OSError):
                write_atomic(self._file, secret, mode=0o600)
                write_atomic(self._revoked_file, b"{}", mode=0o600)
            return secret
        return _load_or_create_secret(self._file)


def _load_or_create_secret(file: Path) -> bytes:
    """Return the signing key, created at the first use; only the owner may read the file.

    If the file cannot be written or is damaged, return a key that is valid for this process only.
    """
    secret = secrets.token_bytes(_SECRET_BYTES)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = file.with_name(f"{file.name}.{os.getpid()}")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(secret)
        try:
            os.link(temporary, file)  # a link creates the file atomically and never replaces that of another process
        except FileExistsError:
            secret = file.read_bytes()
        finally:
            temporary.unlink()
    except OSError as e:
        log.warning("Logins are valid until the next restart only: cannot write %s (%s).", file, e.strerror)
    if len(secret) != _SECRET_BYTES:
        log.warning("Logins are valid until the next restart only: %s is damaged. Delete it.", file)
        secret = secrets.token_bytes(_SECRET_BYTES)
    return secret
