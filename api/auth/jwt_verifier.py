"""Bearer tokens of an identity provider: JWT (RFC 7519), checked as RFC 8725 asks: one algorithm for one kind of key."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import httpx
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from api.auth.identity import Identity, Scope
from hunyuanocr.config.security import JwtSettings
from hunyuanocr.errors import ConfigError

log = logging.getLogger(__name__)

_MAX_LENGTH = 8192  # characters
_LEEWAY_S = 30
_MIN_RSA_LENGTH = 2048
_FETCH_S = 5.0
_MAX_SET_LENGTH = 1024 * 1024  # bytes
_OLD_S = 600.0  # a set of keys is fetched again after so long, which is how fast a withdrawn key ends
_REST_S = 10.0  # between two fetches, whatever key ids strangers make up
_TRUST_S = 24 * 3600.0  # how long a set counts while its address does not answer
_WANTED = ["exp", "iss", "aud"]
_FAR = 1e11  # seconds: in some thousands of years. A claim may have hundreds of digits, which no float has.


class JwtVerifier:
    """Checks tokens by these settings. Raises ConfigError for a key that cannot be used."""

    def __init__(self, settings: JwtSettings) -> None:
        self._settings = settings
        self._set = JwksClient(settings.jwks_url) if settings.jwks_url else None
        self._algorithms: list[str] = []
        self._key: Any = None
        if settings.secret is not None:
            self._algorithms, self._key = ["HS256"], settings.secret.get_secret_value().encode()
        elif settings.key_file is not None:
            algorithm, self._key = _from_file(settings.key_file)
            self._algorithms = [algorithm]
        elif self._set is not None:
            self._algorithms = ["RS256", "ES256"]

    async def verify(self, text: str) -> Identity | None:
        """Whose token it is; None for one that is not good here, whatever the reason: strangers are not told."""
        if not self._algorithms or len(text) > _MAX_LENGTH or text.count(".") != 2:
            return None
        try:
            header = jwt.get_unverified_header(text)
            algorithm = header.get("alg")
            if algorithm not in self._algorithms:
                return None
            key = self._key if self._set is None else await self._set.key(header.get("kid"))
            if key is None:
                return None
            claims = jwt.decode(
                text, key, algorithms=[algorithm], audience=self._settings.audience, issuer=self._settings.issuer,
                leeway=_LEEWAY_S, options={"require": _WANTED},
            )  # fmt: skip
        except (jwt.PyJWTError, ValueError, TypeError) as e:
            log.debug("A token was refused: %s", type(e).__name__)
            return None
        return self._identity(claims)

    def _identity(self, claims: dict[str, Any]) -> Identity | None:
        owner, name = claims.get(self._settings.owner_claim), claims.get("sub")
        if not isinstance(owner, str) or not 0 < len(owner) <= 200 or not owner.isprintable():
            log.warning("A token was refused: its claim %s is no name.", self._settings.owner_claim)
            return None
        given = claims.get(self._settings.scope_claim)
        words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
        scopes = frozenset(scope for scope in Scope if scope.value in words)
        shown = name if isinstance(name, str) and name.isprintable() else owner
        return Identity(owner, shown[:200], scopes, "token", until=min(int(claims["exp"]), _FAR) + _LEEWAY_S)


def _from_file(file: Any) -> tuple[str, Any]:
    """The algorithm that this kind of public key is for, and the key."""
    try:
        key = load_pem_public_key(file.read_bytes())
    except OSError as e:
        raise ConfigError(f"'security.jwt.key_file' cannot be read: {e.strerror}.") from e
    except (ValueError, UnsupportedAlgorithm) as e:
        raise ConfigError("'security.jwt.key_file' is no public key in PEM form.", hint="Ask the provider for it.") from e
    if isinstance(key, RSAPublicKey) and key.key_size >= _MIN_RSA_LENGTH:
        return "RS256", key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256", key
    raise ConfigError("'security.jwt.key_file' is neither RSA of 2048 bits or more nor P-256.")


class JwksClient:
    """A JWKS (RFC 7517) behind a URL, fetched when it is needed, followed nowhere else."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.fetched = 0
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._at = self._tried = float("-inf")
        self._lock = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None

    async def key(self, id: object) -> jwt.PyJWK | None:
        """The key of this id; the only one where a token names none."""
        id = id if isinstance(id, str) else None
        if id not in self._keys:
            await self._renew()
        elif time.monotonic() - self._at > _OLD_S and not self._lock.locked():
            self._renewing = asyncio.create_task(self._renew())  # nobody waits for a provider that is slow
        if time.monotonic() - self._at > _TRUST_S:
            return None
        return self._keys.get(id)

    async def _renew(self) -> None:
        async with self._lock:
            if time.monotonic() - self._tried > _REST_S:
                await self._fetch()

    async def _fetch(self) -> None:
        self._tried = time.monotonic()
        self.fetched += 1
        try:
            async with asyncio.timeout(_FETCH_S):
                found = jwt.PyJWKSet.from_json(await self._download()).keys
        except (httpx.HTTPError, TimeoutError, ValueError, jwt.PyJWTError, AttributeError, TypeError) as e:
            log.warning("The provider's keys at %s cannot be had: %s %s", self.url, type(e).__name__, e)
            return
        usable = [key for key in found if _usable(key)]
        self._keys = {key.key_id: key for key in usable}
        if len(usable) == 1:
            self._keys[None] = usable[0]
        self._at = time.monotonic()

    async def _download(self) -> str:
        body = bytearray()
        async with httpx.AsyncClient(trust_env=False) as client, client.stream("GET", self.url) as answer:
            answer.raise_for_status()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _MAX_SET_LENGTH:
                    raise ValueError("too long")
        return body.decode()


def _usable(key: jwt.PyJWK) -> bool:
    """Public keys of the two algorithms; above all no secrets, which a set is no place for."""
    if key.public_key_use not in (None, "sig"):
        return False
    if isinstance(key.key, RSAPublicKey):
        return key.algorithm_name == "RS256" and key.key.key_size >= _MIN_RSA_LENGTH
    return isinstance(key.key, EllipticCurvePublicKey) and key.algorithm_name == "ES256"
