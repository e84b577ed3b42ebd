"""Who asks: an owner, whose records are seen, and scopes, which say what may be done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Scope(StrEnum):
    """What a key or token may be good for; `admin` includes the others."""

    READ = "read"  # records, jobs, results
    SUBMIT = "submit"  # have pictures read, delete what is one's own, use the page
    ADMIN = "admin"  # keys, models, the audit log, the sync


ALL_SCOPES = frozenset(Scope)
DEFAULT_SCOPES = frozenset({Scope.READ, Scope.SUBMIT})


@dataclass(frozen=True)
class Identity:
    """`name` is for the audit log. `ambient`: a browser sends what proves it by itself, so that its origin must be looked at.

    `key` is the id of an API key, which may be revoked at any moment; `until` is when the identity ends, in seconds since 1970.
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
        """A word that no other identity has, also none of the same owner: 32 hexadecimal digits."""
        return hashlib.sha256(repr((self.method, self.owner, self.name, self.key)).encode()).hexdigest()[:32]

    def fair_key(self, address: str) -> str:
        """Among whose requests and jobs one from this address is counted where turns are shared out: the owner's; where nobody is
        asked for a key, all are one owner, and then it is the address, as a hash, for it is stored with jobs.
        """
        from api.network.ip import rate_limit_key  # noqa: PLC0415 -- `api.network` imports routes, and they import this module

        if self.method != "local":
            return self.owner
        return "address:" + hashlib.sha256(rate_limit_key(address).encode()).hexdigest()[:32]

    def has_scope(self, scope: Scope) -> bool:
        """Whether it has this scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


LOCAL_ADMIN = Identity("local", "local", ALL_SCOPES, "local", ambient=True)  # at the machine itself, where nothing is configured
ANONYMOUS = Identity("local", "local", DEFAULT_SCOPES, "local", ambient=True)  # anybody, where the appliance is open


def device_identity(address: str) -> Identity:
    """One that cannot send a key and is known by its address."""
    return Identity(f"device:{address}", f"device:{address}", DEFAULT_SCOPES, "device", ambient=True)
