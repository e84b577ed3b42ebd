"""Whether a browser asks on behalf of another site: for what it sends by itself, a cookie or its place in the network.

A page elsewhere can make a browser send requests here (they carry its `Origin`), and by a public name of its own that it lets
point to this machine (DNS rebinding: the `Host` is then that name). Names that the public DNS never resolves cannot be such.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers

_OURS = ("localhost", "local", "lan", "home.arpa", "internal", "test")  # RFC 6761, 6762, 8375, and what routers use
_PORTS = {"http": 80, "https": 443}


def is_cross_origin(headers: Headers, allowed: Iterable[str], scheme: str) -> bool:
    """Whether the `Origin`, if there is one, is neither this host nor allowed. `null`, a page without a home, is foreign; so is,
    for what came over HTTPS, a page that came without it and may be anybody's.
    """
    origins = headers.getlist("origin")
    return any(not (origin in allowed or _same(origin, headers.get("host", ""), scheme)) for origin in origins)


def _same(origin: str, host: str, scheme: str) -> bool:
    there, here = _split(origin), _split(f"//{host}")
    if there is None or here is None or not there.hostname or there.hostname != here.hostname:
        return False
    if there.scheme == "http" and scheme in ("https", "wss"):
        return False
    usual = _PORTS.get(there.scheme)  # behind a proxy that speaks HTTPS we do not always know that it does
    return (there.port or usual) == (here.port or usual)


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 -- raises for one that is no number
    except ValueError:
        return None
    return parts


def is_public_host(headers: Headers, allowed: Iterable[str]) -> bool:
    """Whether this machine is asked for by a name of the public internet that is not in `allowed`."""
    return any(_is_public(host, allowed) for host in headers.getlist("host") if host)


def _is_public(host: str, allowed: Iterable[str]) -> bool:
    parts = _split(f"//{host}")
    name = (parts.hostname or "").rstrip(".") if parts else ""
    if not name:
        return True
    if (
        name in {given.lower().rstrip(".") for given in allowed}
        or "." not in name
        or name.endswith(tuple(f".{n}" for n in _OURS))
    ):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return True
    return False
