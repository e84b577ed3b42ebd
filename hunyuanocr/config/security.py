"""Authentication: keys, devices, sessions, tokens of an identity provider (JWT)."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from pydantic import Field, SecretStr, field_validator, model_validator

from hunyuanocr.config.base import SettingsGroup, UserPath

_MIN_SECRET_LENGTH = 32  # bytes; RFC 7518, section 3.2 requires at least the size of the hash


class JwtSettings(SettingsGroup):
    """Tokens (JWT) of an identity provider. Set one of `secret`, `key_file` and `jwks_url`; without them no token is accepted."""

    secret: SecretStr | None = Field(None, description="Shared secret for HS256, at least 32 bytes.")
    key_file: UserPath | None = Field(None, description="PEM file of the public key: RSA for RS256, P-256 for ES256.")
    jwks_url: str | None = Field(
        None,
        pattern=r"^(https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/])[^\s]+$",
        description="JWKS URL of the identity provider (RS256 and ES256). https, or http on this machine.",
    )
    issuer: str | None = Field(None, description="Required `iss` claim.")
    audience: str | None = Field(
        None, description="Required `aud` claim. It prevents the use of tokens that were issued for other programs."
    )
    owner_claim: str = Field(
        "sub", description="Claim that identifies the owner of records. Users must not be able to choose its value."
    )
    scope_claim: str = Field("scope", description='Claim with the scopes: "read submit admin" or a list.')

    @property
    def used(self) -> bool:
        """Whether tokens are accepted."""
        return self.secret is not None or self.key_file is not None or self.jwks_url is not None

    @model_validator(mode="after")
    def _check_complete(self) -> JwtSettings:
        """Require exactly one source of keys, an issuer and an audience."""
        if sum(source is not None for source in (self.secret, self.key_file, self.jwks_url)) > 1:
            raise ValueError("set only one of secret, key_file and jwks_url")
        if self.used and not (self.issuer and self.audience):
            raise ValueError("issuer and audience are required")
        if self.secret is not None and len(self.secret.get_secret_value().encode()) < _MIN_SECRET_LENGTH:
            raise ValueError(f"the secret is shorter than {_MIN_SECRET_LENGTH} bytes; create one with: openssl rand -base64 48")
        return self


class SecuritySettings(SettingsGroup):
    """Authentication and authorization (docs/security.md)."""

    allow_anonymous: bool = Field(
        False, description="Serve all clients without authentication. Administration remains limited to this machine."
    )
    require_auth_on_loopback: bool = Field(
        False,
        description="Require authentication on 127.0.0.1 too. Off: only after keys, tokens or devices are set up.",
    )
    devices: tuple[IPv4Network | IPv6Network, ...] = Field(
        (),
        description="Addresses of devices that cannot send a key (10.0.0.7, 10.0.1.0/24). They get the scopes read and submit.",
    )
    public_hostnames: tuple[str, ...] = Field(
        (), description="Public host names of this machine that browsers may use without authentication."
    )
    session_hours: float = Field(12.0, gt=0, le=744, description="Lifetime of a login to the page, hours.")
    audit_days: float = Field(365.0, ge=0, description="Retention time of the audit log, days. 0: no limit.")
    jwt: JwtSettings = JwtSettings()

    @field_validator("devices", mode="before")
    @classmethod
    def _refuse_all_addresses(cls, value: object) -> object:
        """Refuse networks of all addresses: that is what `allow_anonymous` is for."""
        entries = value if isinstance(value, (list, tuple)) else ()
        if any(str(entry).strip().endswith("/0") for entry in entries):
            raise ValueError("the network contains all addresses; use 'security.allow_anonymous' instead")
        return value

    @model_validator(mode="after")
    def _refuse_contradiction(self) -> SecuritySettings:
        if self.allow_anonymous and self.require_auth_on_loopback:
            raise ValueError("'allow_anonymous' and 'require_auth_on_loopback' exclude each other")
        return self
