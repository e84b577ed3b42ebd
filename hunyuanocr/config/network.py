"""Who may come in over the network, how often, how slowly, and with how much at a time."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic import Field

from hunyuanocr.config.base import SettingsGroup


class NetworkSettings(SettingsGroup):
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
    requests_per_minute_per_ip: int = Field(6000, ge=0, description="Requests a minute of one address; 0 does not count them.")
    requests_per_minute_per_key: int = Field(6000, ge=0, description="Requests a minute of one key; 0 does not count them.")
    auth_failures_per_minute: int = Field(
        60, ge=0, description="Requests a minute of one address that may fail for a wrong or missing key (401); 0 does not count."
    )
    connections: int = Field(10_000, ge=1, description="Connections at a time; beyond them only /health and /ready are answered.")
    connections_per_address: int = Field(
        256, ge=1, description="Connections of one address at a time; trusted proxies are not counted."
    )
    upload_memory_mb: float = Field(
        512.0, gt=0,
        description="Megabytes of requests in memory at a time, half of them for one address; never less than twice the largest.",
    )  # fmt: skip
    header_timeout_s: float = Field(15.0, gt=0, description="Seconds in which the head of a request must have come.")
    min_upload_kb_s: float = Field(
        4.0, gt=0, description="KB a second that an upload must make, after 20 seconds of grace; a slower one is cut off."
    )
    tls_cert: Path | None = Field(None, description="PEM file of the certificate, with those between it and its authority.")
    tls_key: Path | None = Field(None, description="PEM file of its key; with both, page and API are served over HTTPS alone.")
