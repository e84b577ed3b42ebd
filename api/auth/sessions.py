"""The page's session: a signed cookie that names an API key, or carries what a token said, and when it ends."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from api.auth.api_keys import ApiKeyCache, identity_of_key
from api.auth.identity import Identity, Scope
from hunyuanocr.clock import Clock

log = logging.getLogger(__name__)

COOKIE = "hunyuanocr_session"
_SECRET_BYTES = 32
_MAX_LENGTH = 2048


class SessionCookies:
    """`secret` is a file in the data folder, made at the first login: a restart logs nobody out, and a copy of the database
    alone lets nobody in. A session is good as long as its key is, and `hours` at most. Beside it lies who has logged out.
    """

    def __init__(self, keyring: ApiKeyCache, secret: Path, hours: float, clock: Clock | None = None) -> None:
        self._keyring = keyring
        self._clock = clock or Clock()
        self._file = secret
        self._seconds = 3600 * hours
        self._secret: bytes | None = None
        self._ended_file = secret.with_name(f"{secret.stem}.ended")
        self._ended: dict[str, float] = {}  # the word of a session, and when it would have been over anyway
        self._ending = threading.Lock()

    def create(self, identity: Identity) -> tuple[str, int]:
        """A cookie for whoever logged in, and its seconds."""
        now = self._clock.now().timestamp()
        until = min(now + self._seconds, identity.until or float("inf"))
        about = {"k": identity.key} if identity.key else {"o": identity.owner, "n": identity.name, "s": sorted(identity.scopes)}
        body = _text(json.dumps(about | {"i": secrets.token_hex(8), "x": until}).encode())
        return f"{body}.{_text(self._sign(body))}", max(0, int(until - now))

    async def identity(self, cookie: str) -> Identity | None:
        """Whose session it is; None when it is none of ours, or over. Raises StoreUnavailable."""
        about = self._opened(cookie)
        if about is None:
            return None
        if "k" in about:
            key = await self._keyring.by_id(about["k"])
            return None if key is None else replace(identity_of_key(key), until=about["x"], ambient=True)
        scopes = frozenset(Scope(scope) for scope in about["s"])
        return Identity(about["o"], about["n"], scopes, "token", until=about["x"], ambient=True)

    def is_forged(self, cookie: str) -> bool:
        """Whether it was never one of ours; one that has expired, or was logged out, was."""
        return len(cookie) > _MAX_LENGTH or not cookie.isascii() or not self._is_signed(cookie)

    def revoke(self, cookie: str) -> None:
        """Log out, for good: also for whoever has copied the cookie, and after a restart. Waits for the disk."""
        about = self._opened(cookie)
        if about is None:
            return
        with self._ending:
            now = self._clock.trusted()  # a wall clock that jumped ahead forgets no logout: it may be set right again
            over = 0.0 if now is None else now.timestamp()
            ended = {word: until for word, until in self._ended.items() if until > over} | {about["i"]: about["x"]}
            self._ended = ended
            try:
                _write(self._ended_file, json.dumps(ended).encode())
            except OSError as e:
                log.warning("A logout holds until a restart only: %s cannot be written (%s).", self._ended_file, e.strerror)

    def _opened(self, cookie: str) -> dict[str, Any] | None:
        if self.is_forged(cookie):
            return None
        body = cookie.partition(".")[0]
        about: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return None if about["x"] <= self._clock.now().timestamp() or about["i"] in self._ended else about

    def _is_signed(self, cookie: str) -> bool:
        body, _, signature = cookie.partition(".")
        return hmac.compare_digest(_text(self._sign(body)), signature)

    def _sign(self, body: str) -> bytes:
        if self._secret is None:
            self._secret = self._recalled()
        return hmac.digest(self._secret, b"hunyuanocr session " + body.encode(), hashlib.sha256)

    def _recalled(self) -> bytes:
        """The secret, and who has logged out. Where the latter cannot be told everybody has: the secret is made anew."""
        try:
            self._ended = {str(word): float(until) for word, until in json.loads(self._ended_file.read_bytes()).items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError):
            log.warning("Everybody is logged out of the page: %s is damaged.", self._ended_file)
            made = secrets.token_bytes(_SECRET_BYTES)
            with suppress(OSError):
                _write(self._file, made)
                _write(self._ended_file, b"{}")
            return made
        return _kept(self._file)


def _write(file: Path, data: bytes) -> None:
    """The whole file or the old one, also after a power cut; for its owner alone."""
    part = file.with_name(f".{file.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _kept(file: Path) -> bytes:
    """The secret, made at the first need, for its owner alone; where it cannot be kept it ends with the process."""
    made = secrets.token_bytes(_SECRET_BYTES)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = file.with_name(f"{file.name}.{os.getpid()}")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(made)
        try:
            os.link(unfinished, file)  # whole, and never over another's
        except FileExistsError:
            made = file.read_bytes()
        finally:
            unfinished.unlink()
    except OSError as e:
        log.warning("Logins end with this process: %s cannot be kept (%s).", file, e.strerror)
    if len(made) != _SECRET_BYTES:
        log.warning("Logins end with this process: %s is damaged; delete it.", file)
        made = secrets.token_bytes(_SECRET_BYTES)
    return made
