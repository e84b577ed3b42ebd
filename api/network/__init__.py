"""Between the socket and the routes: whose request it is, whether it may come in, and how much of everything it may take.

`guard_inside` and `guard_outside` put the layers around an app; what knows keys stands between the two. From the outside:
`ProxyHeadersMiddleware`, the request's id and log (`api.middleware`), `SecurityHeadersMiddleware`, `IpFilterMiddleware`, CORS,
`IpRateLimitMiddleware`, `BodyLimitMiddleware`, the check of keys, `KeyRateLimitMiddleware`. Below all of them, `http_protocol`,
`websocket_protocol` and `https_protocol` are how uvicorn is made to give up slow clients. For owners: docs/network.md.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from api.network.body_limit import BodyLimitMiddleware
from api.network.limits import NetworkLimits
from api.network.middleware import IpFilterMiddleware, IpRateLimitMiddleware, KeyRateLimitMiddleware, ProxyHeadersMiddleware
from api.network.security_headers import SecurityHeadersMiddleware

__all__ = ["NetworkLimits", "ProxyHeadersMiddleware", "guard_inside", "guard_outside"]

_READABLE = ("X-Request-Id", "Retry-After", "Location", "Idempotent-Replayed")


def guard_inside(app: FastAPI, network: NetworkLimits) -> None:
    """What stands behind the check of keys, because it asks who it is."""
    app.add_middleware(KeyRateLimitMiddleware, network=network)


def guard_outside(app: FastAPI, network: NetworkLimits) -> None:
    """What stands before the check of keys. Without origins CORS answers nothing, and Gradio's own, which trusts every
    website, is never asked: it is silent beside another.
    """
    app.add_middleware(BodyLimitMiddleware, network=network)
    app.add_middleware(IpRateLimitMiddleware, network=network)
    app.add_middleware(
        CORSMiddleware, allow_origins=network.settings.origins, allow_methods=["*"], allow_headers=["*"], expose_headers=_READABLE
    )
    app.add_middleware(IpFilterMiddleware, network=network)
    app.add_middleware(SecurityHeadersMiddleware)
