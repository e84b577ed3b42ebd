"""Configuration of uvicorn, shared by the program, its tests and its benchmarks."""

from __future__ import annotations

import ssl
from typing import Any

from api.network.http_protocol import TimeoutH11Protocol
from api.network.https_protocol import https_protocol
from api.network.websocket_protocol import LimitedWebSocketProtocol
from hunyuanocr.config import Settings
from hunyuanocr.config.network import NetworkSettings
from hunyuanocr.errors import ConfigError

_MAX_FIELDS_BYTES = 1024 * 1024  # bytes of a message in addition to its image


def uvicorn_options(settings: Settings) -> dict[str, Any]:
    """Return keyword arguments of `uvicorn.Config` for an app of `create_app`.

    `api.network` evaluates proxy headers instead of uvicorn, which trusts every local process, and handles TLS, which uvicorn
    leaves to asyncio. Raises ConfigError for an unusable certificate or key.
    """
    context = create_ssl_context(settings.network)
    return _websockets(settings) | {
        "http": TimeoutH11Protocol if context is None else https_protocol(context),
        "proxy_headers": False,
        "server_header": False,
        "timeout_keep_alive": settings.network.keep_alive_s,
    }


def _websockets(settings: Settings) -> dict[str, Any]:
    """Return the WebSocket options.

    `websockets-sansio` unmasks in C code, needs no task per connection, and stops reading while a message is waiting. (`wsproto`
    is pure Python; uvicorn's older `websockets` has tasks and a frame queue per connection, on a legacy interface.) Images are
    already compressed, so deflate would only cost time and memory. A message of more than twice the maximum image size in base64
    closes the connection; a smaller one that is still too large gets an error response.
    """
    return {
        "ws": LimitedWebSocketProtocol,
        "ws_per_message_deflate": False,
        "ws_max_size": 2 * (settings.camera.max_bytes * 4 // 3) + _MAX_FIELDS_BYTES,
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
    }


def validate_tls(network: NetworkSettings) -> bool:
    """Return whether HTTPS is configured. Raises ConfigError for an unusable certificate or key, so that the start fails."""
    return create_ssl_context(network) is not None


def create_ssl_context(network: NetworkSettings) -> ssl.SSLContext | None:
    """Return the TLS context (TLS 1.2 or later), or None without HTTPS. Raises ConfigError."""
    cert, key = network.tls_cert, network.tls_key
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise ConfigError("HTTPS needs a certificate and its key.", hint="Set both --tls-cert and --tls-key.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as e:  # ssl.SSLError is an OSError
        raise ConfigError(
            f"Cannot use {cert} and {key} for HTTPS: {e}.",
            hint="Use PEM files that belong together, are readable by this user, and whose key has no password.",
        ) from e
    return context


def _no_password() -> str:
    raise ValueError("the key has a password")
