"""How uvicorn is to carry the app: one place for the program, its tests and its benches."""

from __future__ import annotations

import ssl
from typing import Any

from api.network.http_protocol import TimeoutH11Protocol
from api.network.https_protocol import https_protocol
from api.network.websocket_protocol import LimitedWebSocketProtocol
from hunyuanocr.config import Settings
from hunyuanocr.config.network import NetworkSettings
from hunyuanocr.errors import ConfigError

_MAX_FIELDS_BYTES = 1024 * 1024  # bytes of a message beside its picture


def uvicorn_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of `uvicorn.Config`, for an app of `create_app`.

    Headers of proxies are looked at by `api.network`, not by uvicorn, which believes everybody on this machine. So is TLS, which
    uvicorn would leave to asyncio. Raises ConfigError where certificate and key cannot be used.
    """
    context = create_ssl_context(settings.network)
    return _websockets(settings) | {
        "http": TimeoutH11Protocol if context is None else https_protocol(context),
        "proxy_headers": False,
        "server_header": False,
    }


def _websockets(settings: Settings) -> dict[str, Any]:
    """`websockets-sansio` unmasks with the C code of the package `websockets`, has no task of its own for a connection, and stops
    reading from it while a message waits to be taken. (`wsproto` is Python all through; uvicorn's older `websockets` holds tasks
    and a queue of frames for every connection, on an interface that the package calls legacy.) Frames are compressed already:
    deflate would cost time and memory for nothing. A message twice as long as the longest picture in base64 ends the
    connection; those in between get an answer that says so.
    """
    return {
        "ws": LimitedWebSocketProtocol,
        "ws_per_message_deflate": False,
        "ws_max_size": 2 * (settings.camera.max_bytes * 4 // 3) + _MAX_FIELDS_BYTES,
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
    }


def validate_tls(network: NetworkSettings) -> bool:
    """Whether HTTPS is served. Raises ConfigError where certificate and key cannot be used, so that it is told at start."""
    return create_ssl_context(network) is not None


def create_ssl_context(network: NetworkSettings) -> ssl.SSLContext | None:
    """What HTTPS is served with, if it is: TLS 1.2 or later. Raises ConfigError."""
    cert, key = network.tls_cert, network.tls_key
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise ConfigError("HTTPS needs a certificate and its key.", hint="Give both --tls-cert and --tls-key.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as e:  # ssl.SSLError is an OSError
        raise ConfigError(
            f"HTTPS cannot be served with {cert} and {key}: {e}.",
            hint="Give PEM files that belong together, readable by this user, the key without a password.",
        ) from e
    return context


def _no_password() -> str:
    raise ValueError("the key asks for a password")
