"""Network protection: client address, access lists, rate limits, size limits, security headers.

`guard_inside` and `guard_outside` add the middleware to an app; authentication is added between the two. From the outside:
`ProxyHeadersMiddleware`, the request's id and log (`api.middleware`), `SecurityHeadersMiddleware`, `IpFilterMiddleware`, CORS,
`IpRateLimitMiddleware`, `BodyLimitMiddleware`, authentication, `KeyRateLimitMiddleware`. `http_protocol`, `https_protocol` and
`websocket_protocol` extend uvicorn's protocols with timeouts and limits. For administrators: docs/network.md.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from api.network.body_limit import BodyLimitMiddleware
from api.network.limits import NetworkLimits
from api.network.middleware import IpFilterMiddleware, IpRateLimitMiddleware, KeyRateLimitMiddleware, ProxyHeadersMiddleware
from api.network.security_headers import SecurityHeadersMiddleware

__all__ = ["NetworkLimits", "ProxyHeadersMiddleware", "guard_inside", "guard_outside"]

_EXPOSED_HEADERS = ("X-Request-Id", "Retry-After", "Location", "Idempotent-Replayed")


def guard_inside(app: FastAPI, network: NetworkLimits) -> None:
    """Add the middleware that runs after authentication, because it needs the identity."""
    app.add_middleware(KeyRateLimitMiddleware, network=network)


def guard_outside(app: FastAPI, network: NetworkLimits) -> None:
    """Add the middleware that runs before authentication.

    The CORS middleware is added even without allowed origins: its presence disables Gradio's own, which allows every website.
    """
    app.add_middleware(BodyLimitMiddleware, network=network)
    app.add_middleware(IpRateLimitMiddleware, network=network)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=network.settings.origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=_EXPOSED_HEADERS,
    )
    app.add_middleware(IpFilterMiddleware, network=network)
    app.add_middleware(SecurityHeadersMiddleware)
