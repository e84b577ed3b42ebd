"""`SettingsGroup`, the base of every group of settings, and the groups about who may come in; the others are in `config`."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator

from hunyuanocr.config.base import SettingsGroup

_MIN_SECRET_LENGTH = 32  # bytes, as long as what HS256 computes (RFC 7518, 3.2)


class JwtSettings(SettingsGroup):
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
        if self.secret is not None and len(self.secret.get_secret_value().encode()) < _MIN_SECRET_LENGTH:
            raise ValueError(f"the secret is shorter than {_MIN_SECRET_LENGTH} bytes; make one with: openssl rand -base64 48")
        return self


class SecuritySettings(SettingsGroup):
    """Who may use the appliance (docs/security.md)."""

    allow_anonymous: bool = Field(
        False, description="Let everybody in who can reach it, without a key; administration stays local."
    )
    require_auth_on_loopback: bool = Field(
        False,
        description="Ask for a key on 127.0.0.1 too; without it that is asked once a key was made, or tokens or devices are set.",
    )
    devices: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Addresses of devices that cannot send a key (10.0.0.7, 10.0.1.0/24): they may read and submit."
    )
    public_hostnames: tuple[str, ...] = Field(
        (), description="Public names of this machine by which browsers may ask where no key is asked for."
    )
    session_hours: float = Field(12.0, gt=0, le=744, description="Hours for which a login of the page holds.")
    audit_days: float = Field(365.0, ge=0, description="Days that the audit log is kept; 0 keeps it for ever.")
    jwt: JwtSettings = JwtSettings()

    @field_validator("devices", mode="before")
    @classmethod
    def _one_address(cls, value: object) -> object:
        """An entry that would let everybody in is `allow_anonymous` in disguise."""
        entries = value if isinstance(value, (list, tuple)) else ()
        if any(str(entry).strip().endswith("/0") for entry in entries):
            raise ValueError("a network of all addresses; say 'security.allow_anonymous' if that is meant")
        return value

    @model_validator(mode="after")
    def _one_meaning(self) -> SecuritySettings:
        if self.allow_anonymous and self.require_auth_on_loopback:
            raise ValueError("'open' and 'required' cannot both be on")
        return self
