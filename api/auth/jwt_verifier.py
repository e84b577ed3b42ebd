"""Verify bearer tokens (JWT, RFC 7519) of an identity provider. As RFC 8725 requires, each key type has one algorithm."""

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

from api.auth.identity import Identity
from hunyuanocr.config.security import JwtSettings
from hunyuanocr.errors import ConfigError
from hunyuanocr.services.api_keys import Scope

log = logging.getLogger(__name__)

_MAX_LENGTH = 8192  # characters
_LEEWAY_S = 30
_MIN_RSA_BITS = 2048
_FETCH_TIMEOUT_S = 5.0
_MAX_JWKS_BYTES = 1024 * 1024
_MAX_AGE_S = 24 * 3600.0  # a key set stays valid for this time while the provider does not respond
_REQUIRED_CLAIMS = ["exp", "iss", "aud"]
_MAX_EXPIRY = 1e11  # Unix time in seconds, thousands of years ahead: a claim may have more digits than a float can hold


class JwtVerifier:
    """Verifies tokens according to the settings. Raises ConfigError for an unusable key."""

    def __init__(self, settings: JwtSettings) -> None:
        self._settings = settings
        self.jwks = JwksClient(settings.jwks_url) if settings.jwks_url else None
        self._algorithms: list[str] = []
        self._key: Any = None
        if settings.secret is not None:
            self._algorithms, self._key = ["HS256"], settings.secret.get_secret_value().encode()
        elif settings.key_file is not None:
            algorithm, self._key = _load_key(settings.key_file)
            self._algorithms = [algorithm]
        elif self.jwks is not None:
            self._algorithms = ["RS256", "ES256"]

    async def verify(self, text: str) -> Identity | None:
        """Return the identity of a token; None if it is invalid. The reason is not reported to the client."""
        if not self._algorithms or len(text) > _MAX_LENGTH or text.count(".") != 2:
            return None
        try:
            header = jwt.get_unverified_header(text)
            algorithm = header.get("alg")
            if algorithm not in self._algorithms:
                return None
            key = self._key if self.jwks is None else await self.jwks.key(header.get("kid"))
            if key is None:
                return None
            claims = jwt.decode(
                text,
                key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=_LEEWAY_S,
                options={"require": _REQUIRED_CLAIMS},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as e:
            log.debug("Token rejected: %s", type(e).__name__)
            return None
        return self._identity(claims)

    def _identity(self, claims: dict[str, Any]) -> Identity | None:
        owner, name = claims.get(self._settings.owner_claim), claims.get("sub")
        if not isinstance(owner, str) or not 0 < len(owner) <= 200 or not owner.isprintable():
            log.warning("Token rejected: its claim %s is not a valid name.", self._settings.owner_claim)
            return None
        claim = claims.get(self._settings.scope_claim)
        values = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
        scopes = frozenset(scope for scope in Scope if scope.value in values)
        display_name = name if isinstance(name, str) and name.isprintable() else owner
        return Identity(owner, display_name[:200], scopes, "token", until=min(int(claims["exp"]), _MAX_EXPIRY) + _LEEWAY_S)


def _load_key(file: Any) -> tuple[str, Any]:
    """Return the algorithm for this type of public key, and the key. Raises ConfigError."""
    try:
        key = load_pem_public_key(file.read_bytes())
    except OSError as e:
        raise ConfigError(f"Cannot read 'security.jwt.key_file': {e.strerror}.") from e
    except (ValueError, UnsupportedAlgorithm) as e:
        raise ConfigError(
            "'security.jwt.key_file' is not a public key in PEM format.", hint="Get the key from the identity provider."
        ) from e
    if isinstance(key, RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
        return "RS256", key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256", key
    raise ConfigError("'security.jwt.key_file' must be an RSA key of at least 2048 bits or a P-256 key.")


class JwksClient:
    """Fetches a JSON Web Key Set (RFC 7517) when it is needed. Redirects are not followed."""

    refresh_interval_s = 600.0  # also the time after which a withdrawn key stops working
    min_fetch_interval_s = 10.0  # clients with invented key ids must not cause more fetches

    def __init__(self, url: str) -> None:
        self.url = url
        self.fetched = 0
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = self._attempted_at = float("-inf")
        self._lock = asyncio.Lock()
        self.refresh_task: asyncio.Task[None] | None = None

    async def key(self, id: object) -> jwt.PyJWK | None:
        """Return the key with this id; without an id, the only key of the set. None if there is no such key."""
        id = id if isinstance(id, str) else None
        if id not in self._keys:
            await self._refresh()
        elif time.monotonic() - self._fetched_at > self.refresh_interval_s and not self._lock.locked():
            self.refresh_task = asyncio.create_task(self._refresh())  # requests do not wait for a slow provider
        if time.monotonic() - self._fetched_at > _MAX_AGE_S:
            return None
        return self._keys.get(id)

    async def _refresh(self) -> None:
        async with self._lock:
            if time.monotonic() - self._attempted_at > self.min_fetch_interval_s:
                await self._fetch()

    async def _fetch(self) -> None:
        self._attempted_at = time.monotonic()
        self.fetched += 1
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_S):
                keys = jwt.PyJWKSet.from_json(await self._download()).keys
        except (httpx.HTTPError, TimeoutError, ValueError, jwt.PyJWTError, AttributeError, TypeError) as e:
            log.warning("Cannot fetch the identity provider's keys from %s: %s %s", self.url, type(e).__name__, e)
            return
        usable = [key for key in keys if _is_usable(key)]
        self._keys = {key.key_id: key for key in usable}
        if len(usable) == 1:
            self._keys[None] = usable[0]
        self._fetched_at = time.monotonic()

    async def _download(self) -> str:
        body = bytearray()
        async with httpx.AsyncClient(trust_env=False) as client, client.stream("GET", self.url) as response:
            response.raise_for_status()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _MAX_JWKS_BYTES:
                    raise ValueError("response too large")
        return body.decode()


def _is_usable(key: jwt.PyJWK) -> bool:
    """Return whether it is a public signature key for RS256 or ES256. Symmetric keys are rejected."""
    if key.public_key_use not in (None, "sig"):
        return False
    if isinstance(key.key, RSAPublicKey):
        return key.algorithm_name == "RS256" and key.key.key_size >= _MIN_RSA_BITS
    return isinstance(key.key, EllipticCurvePublicKey) and key.algorithm_name == "ES256"
