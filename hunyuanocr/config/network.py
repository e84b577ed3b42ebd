"""Network access: allowed addresses, rate limits, timeouts, TLS."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from pydantic import Field

from hunyuanocr.config.base import SettingsGroup, UserPath


class NetworkSettings(SettingsGroup):
    """Network access: allowed addresses, rate limits, timeouts, TLS."""

    allow: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description='Allowed client addresses ("192.168.1.0/24", "127.0.0.1"). Empty: all addresses.'
    )
    deny: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Blocked client addresses, even if they are in `network.allow`."
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Reverse proxies whose X-Forwarded-For and X-Forwarded-Proto headers are trusted."
    )
    origins: tuple[str, ...] = Field((), description='Origins allowed by CORS ("https://pos.shop.lan"). Empty: CORS is disabled.')
    requests_per_minute_per_ip: int = Field(
        6000, ge=0, description="Maximum requests per minute from one IP address. 0: no limit."
    )
    requests_per_minute_per_key: int = Field(6000, ge=0, description="Maximum requests per minute with one key. 0: no limit.")
    auth_failures_per_minute: int = Field(
        60, ge=0, description="Maximum failed authentications (401) per minute from one IP address. 0: no limit."
    )
    connections: int = Field(
        10_000, ge=1, description="Maximum number of open connections. Beyond it only /health and /ready are answered."
    )
    connections_per_address: int = Field(
        256, ge=1, description="Maximum number of open connections from one IP address. Trusted proxies are exempt."
    )
    upload_memory_mb: float = Field(
        512.0,
        gt=0,
        description="Memory for request bodies, MB, half of it for one IP address. At least twice the largest allowed body.",
    )
    header_timeout_s: float = Field(15.0, gt=0, description="Time limit for receiving the request headers, seconds.")
    keep_alive_s: int = Field(
        75,
        ge=1,
        description="Time that an idle connection stays open for the next request, seconds. Longer than that of a proxy.",
    )
    min_upload_kb_s: float = Field(
        4.0, gt=0, description="Minimum upload rate, KB/s. Checked after 20 seconds; slower uploads are aborted."
    )
    tls_cert: UserPath | None = Field(None, description="PEM file of the TLS certificate, including intermediate certificates.")
    tls_key: UserPath | None = Field(
        None, description="PEM file of the private key. With certificate and key the server accepts HTTPS only."
    )
