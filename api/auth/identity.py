"""Identity of a client: the owner of its records, and scopes that define what it may do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from api.network.ip import rate_limit_key
from hunyuanocr.services.api_keys import ALL_SCOPES, DEFAULT_SCOPES, Scope


@dataclass(frozen=True)
class Identity:
    """An authenticated client. `name` is for the audit log; `key` is the id of its API key, which may be revoked at any time.

    `until` is the time of expiry (Unix time in seconds). `ambient`: the browser sends the credential by itself, so the origin of
    the request must be checked.
    """

    owner: str
    name: str
    scopes: frozenset[Scope]
    method: Literal["local", "device", "key", "token"]
    key: str | None = None
    until: float | None = None
    ambient: bool = False

    @property
    def fingerprint(self) -> str:
        """Return 32 hexadecimal digits that are unique to this identity, also among identities of the same owner."""
        return hashlib.sha256(repr((self.method, self.owner, self.name, self.key)).encode()).hexdigest()[:32]

    def fair_key(self, address: str) -> str:
        """Return the key under which fair scheduling counts requests and jobs: the owner, or without authentication the address.

        Without authentication all clients are one owner. The address is hashed, because the key is stored with jobs.
        """
        if self.method != "local":
            return self.owner
        return "address:" + hashlib.sha256(rate_limit_key(address).encode()).hexdigest()[:32]

    def has_scope(self, scope: Scope) -> bool:
        """Return whether the identity has the scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


LOCAL_ADMIN = Identity(
    "local", "local", ALL_SCOPES, "local", ambient=True
)  # a client on this computer, with the default settings
ANONYMOUS = Identity("local", "local", DEFAULT_SCOPES, "local", ambient=True)  # any client, with `security.allow_anonymous`


def device_identity(address: str) -> Identity:
    """Return the identity of a device that cannot send a key and is identified by its address."""
    return Identity(f"device:{address}", f"device:{address}", DEFAULT_SCOPES, "device", ambient=True)
