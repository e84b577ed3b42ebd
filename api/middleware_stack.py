"""The ASGI layers around every route and mount, in one ordered list. See `middleware_stack`."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from api.auth.authenticator import Authenticator
from api.auth.middleware import AuthMiddleware
from api.middleware import PathMiddleware, RequestContext
from api.network.body_limit import BodyLimitMiddleware
from api.network.content_encoding import ContentEncodingMiddleware
from api.network.limits import NetworkLimits
from api.network.middleware import IpFilterMiddleware, IpRateLimitMiddleware, KeyRateLimitMiddleware, ProxyHeadersMiddleware
from api.network.security_headers import SecurityHeadersMiddleware

_EXPOSED_HEADERS = ("X-Request-Id", "Retry-After", "Location", "Idempotent-Replayed")  # readable by scripts of allowed origins


def middleware_stack(network: NetworkLimits, authenticator: Authenticator) -> list[Middleware]:
    """Return all ASGI layers of an app, outermost first: a request passes them from top to bottom.

    Outside this list are uvicorn's protocols, which limit slow clients (`api.network.http_protocol`, `https_protocol`,
    `websocket_protocol`). Inside it are the routes and, mounted at `/`, Gradio behind `web.session_isolation`, which needs the
    identity that `AuthMiddleware` sets. Gradio's own CORS layer, which allows every origin, stays inactive behind this one.
    """
    return [
        Middleware(PathMiddleware),  # first: all layers below use the same path
        Middleware(ProxyHeadersMiddleware, network=network),  # next: all layers below use the client's real address and scheme
        Middleware(RequestContext),  # request id, access log and metrics: they must cover the refusals of all layers below
        Middleware(SecurityHeadersMiddleware),  # before anything that can answer: refusals carry these headers too
        Middleware(IpFilterMiddleware, network=network),  # a blocked address costs no further work, not even a count
        _cors(network),  # preflights carry no key; a 401 is readable
        Middleware(IpRateLimitMiddleware, network=network),  # before authentication, so that keys cannot be guessed at full speed
        Middleware(ContentEncodingMiddleware),  # around the limits on bodies: they count the unpacked bytes
        Middleware(BodyLimitMiddleware, network=network),  # around all code that reads a body, whatever its route checks
        Middleware(AuthMiddleware, authenticator=authenticator),  # sets the identity; reads no body
        Middleware(KeyRateLimitMiddleware, network=network),  # last: it counts per identity
    ]


def _cors(network: NetworkLimits) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=network.settings.origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=_EXPOSED_HEADERS,
    )
