"""`Group`, the base of every group of settings, and the groups about who may come in; the others are in `config`."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_SHORTEST_SECRET = 32  # bytes, as long as what HS256 computes (RFC 7518, 3.2)


class Group(BaseModel):
    """A group of settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class NetworkSettings(Group):
    """Who may come in over the network, how often, how slowly, and with how much at a time."""

    allow: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description='Addresses that may come in ("192.168.1.0/24", "127.0.0.1"); none lets every address in.'
    )
    deny: tuple[IPv4Network | IPv6Network, ...] = Field((), description="Addresses that may not, though they are allowed.")
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Proxies that are believed when they tell whose request they hand on (X-Forwarded-For and -Proto)."
    )
    origins: tuple[str, ...] = Field(
        (), description='Websites whose scripts may use the API ("https://till.shop.lan"); none: CORS is off.'
    )
    per_address: int = Field(6000, ge=0, description="Requests a minute of one address; 0 does not count them.")
    per_key: int = Field(6000, ge=0, description="Requests a minute of one key; 0 does not count them.")
    failures: int = Field(
        60, ge=0, description="Requests a minute of one address that may fail for a wrong or missing key (401); 0 does not count."
    )
    connections: int = Field(10_000, ge=1, description="Connections at a time; beyond them only /health and /ready are answered.")
    connections_per_address: int = Field(
        256, ge=1, description="Connections of one address at a time; trusted proxies are not counted."
    )
    uploads_mb: float = Field(
        512.0, gt=0,
        description="Megabytes of requests in memory at a time, half of them for one address; never less than twice the largest.",
    )  # fmt: skip
    head_s: float = Field(15.0, gt=0, description="Seconds in which the head of a request must have come.")
    body_kb_s: float = Field(
        4.0, gt=0, description="KB a second that an upload must make, after 20 seconds of grace; a slower one is cut off."
    )
    tls_cert: Path | None = Field(None, description="PEM file of the certificate, with those between it and its authority.")
    tls_key: Path | None = Field(None, description="PEM file of its key; with both, page and API are served over HTTPS alone.")


class JwtSettings(Group):
    """Tokens (JWT) of an identity provider. Give one of `secret`, `key_file`, `jwks_url`; none takes no tokens."""

    secret: SecretStr | None = Field(None, description="Secret of HS256, 32 bytes at least.")
    key_file: Path | None = Field(None, description="PEM file of the public key: RSA for RS256, P-256 for ES256.")
    jwks_url: str | None = Field(
        None, pattern=r"^(https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/])[^\s]+$",
        description="Where the provider publishes its public keys (JWKS, for RS256 and ES256); https, or this machine.",
    )  # fmt: skip
    issuer: str | None = Field(None, description="`iss` that a token must have.")
    audience: str | None = Field(None, description="`aud` that a token must have, so that no other program's tokens count here.")
    owner_claim: str = Field("sub", description="Claim that says whose records are seen; not one that users choose themselves.")
    scope_claim: str = Field("scope", description='Claim with the scopes: "read submit admin", or a list.')

    @property
    def used(self) -> bool:
        """Whether tokens are taken at all."""
        return self.secret is not None or self.key_file is not None or self.jwks_url is not None

    @model_validator(mode="after")
    def _whole(self) -> JwtSettings:
        """One way to check signatures, and both names that a token must carry."""
        if sum(given is not None for given in (self.secret, self.key_file, self.jwks_url)) > 1:
            raise ValueError("give one of secret, key_file and jwks_url")
        if self.used and not (self.issuer and self.audience):
            raise ValueError("tokens need both issuer and audience")
        if self.secret is not None and len(self.secret.get_secret_value().encode()) < _SHORTEST_SECRET:
            raise ValueError(f"the secret is shorter than {_SHORTEST_SECRET} bytes; make one with: openssl rand -base64 48")
        return self


class SecuritySettings(Group):
    """Who may use the appliance (docs/security.md)."""

    open: bool = Field(False, description="Let everybody in who can reach it, without a key; administration stays local.")
    required: bool = Field(
        False,
        description="Ask for a key on 127.0.0.1 too; without it that is asked once a key was made, or tokens or devices are set.",
    )
    devices: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Addresses of devices that cannot send a key (10.0.0.7, 10.0.1.0/24): they may read and submit."
    )
    hosts: tuple[str, ...] = Field(
        (), description="Public names of this machine by which browsers may ask where no key is asked for."
    )
    session_hours: float = Field(12.0, gt=0, le=744, description="Hours for which a login of the page holds.")
    audit_days: float = Field(365.0, ge=0, description="Days that the audit log is kept; 0 keeps it for ever.")
    jwt: JwtSettings = JwtSettings()

    @field_validator("devices", mode="before")
    @classmethod
    def _one_address(cls, value: object) -> object:
        """An entry that would let everybody in is `open` in disguise."""
        entries = value if isinstance(value, (list, tuple)) else ()
        if any(str(entry).strip().endswith("/0") for entry in entries):
            raise ValueError("a network of all addresses; say 'security.open' if that is meant")
        return value

    @model_validator(mode="after")
    def _one_meaning(self) -> SecuritySettings:
        if self.open and self.required:
            raise ValueError("'open' and 'required' cannot both be on")
        return self
