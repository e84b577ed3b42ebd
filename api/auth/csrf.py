"""Detect cross-site requests. They matter for credentials that a browser sends by itself: cookies and the client address.

Another website can make a browser send requests to this server; these carry its `Origin`. It can also point its own public host
name to this server (DNS rebinding); the request then has that name as `Host`. Names that public DNS never resolves are safe.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers

_LOCAL_SUFFIXES = (
    "localhost",
    "local",
    "lan",
    "home.arpa",
    "internal",
    "test",
)  # RFC 6761, 6762, 8375, and names that routers use
_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_cross_origin(headers: Headers, allowed: Iterable[str], scheme: str) -> bool:
    """Return whether an `Origin` header names neither this host nor an allowed origin.

    The opaque origin `null` is cross-origin. So is an HTTP origin of an HTTPS request: anyone on the network can forge it.
    """
    origins = headers.getlist("origin")
    return any(not (origin in allowed or _is_same_host(origin, headers.get("host", ""), scheme)) for origin in origins)


def _is_same_host(origin: str, host: str, scheme: str) -> bool:
    origin_url, host_url = _split_url(origin), _split_url(f"//{host}")
    if origin_url is None or host_url is None or not origin_url.hostname or origin_url.hostname != host_url.hostname:
        return False
    if origin_url.scheme == "http" and scheme in ("https", "wss"):
        return False
    # Use the origin's scheme for both: a proxy may terminate TLS, so the scheme of the request may be wrong.
    default_port = _DEFAULT_PORTS.get(origin_url.scheme)
    return (origin_url.port or default_port) == (host_url.port or default_port)


def _split_url(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 -- raises ValueError for an invalid port
    except ValueError:
        return None
    return parts


def is_public_host(headers: Headers, allowed: Iterable[str]) -> bool:
    """Return whether `Host` is a public DNS name that is not in `allowed`."""
    return any(_is_public(host, allowed) for host in headers.getlist("host") if host)


def _is_public(host: str, allowed: Iterable[str]) -> bool:
    parts = _split_url(f"//{host}")
    name = (parts.hostname or "").rstrip(".") if parts else ""
    if not name:
        return True
    if (
        name in {entry.lower().rstrip(".") for entry in allowed}
        or "." not in name
        or name.endswith(tuple(f".{n}" for n in _LOCAL_SUFFIXES))
    ):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return True
    return False
