"""Required scope of each route, mounted app and WebSocket, including the web page. Other paths require `admin`.

A test walks the application and fails for a route without an entry. Paths have the router's syntax and match by its rules.
`WS` stands for a WebSocket, `*` for all HTTP methods. The first matching entry applies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from starlette.routing import compile_path

from hunyuanocr.services.api_keys import Scope


class Access(StrEnum):
    """Requirements other than scopes."""

    ANONYMOUS = "open"  # no authentication required
    AUTHENTICATED = "known"  # any identity


ANONYMOUS, AUTHENTICATED = Access.ANONYMOUS, Access.AUTHENTICATED
LOGIN_PAGES = ("/", "/docs")  # pages that redirect a browser to the login, and to which the login returns
READ, SUBMIT, ADMIN = Scope.READ, Scope.SUBMIT, Scope.ADMIN


@dataclass(frozen=True)
class RoutePolicy:
    """Requirement of a route. `action` is its name in the audit log; None: it is not logged."""

    methods: frozenset[str]
    path: str
    needs: Scope | Access
    action: str | None
    pattern: re.Pattern[str]

    def matches(self, method: str, path: str) -> bool:
        """Return whether the policy applies to a request."""
        method_matches = method in self.methods or ("*" in self.methods and method != "WS")
        return method_matches and self.pattern.fullmatch(path) is not None


def _policy(methods: str, path: str, needs: Scope | Access, action: str | None = None) -> RoutePolicy:
    return RoutePolicy(frozenset(methods.split()), path, needs, action, compile_path(path)[0])


ROUTE_POLICIES = (
    _policy("GET", "/health", ANONYMOUS),
    _policy("GET", "/ready", ANONYMOUS),
    _policy("GET", "/version", ANONYMOUS),
    _policy("GET POST", "/login", ANONYMOUS),
    _policy("POST", "/logout", ANONYMOUS),
    _policy("GET", "/v1/models", AUTHENTICATED),
    _policy("GET", "/v1/models/{model:path}", AUTHENTICATED),
    _policy("GET", "/docs", AUTHENTICATED),
    _policy("GET", "/openapi.json", AUTHENTICATED),
    _policy("GET", "/docs/assets/{path:path}", AUTHENTICATED),
    _policy("POST", "/ocr", SUBMIT, "create"),
    _policy("POST", "/v1/ocr", SUBMIT, "create"),
    _policy("POST", "/v1/chat/completions", SUBMIT, "create"),
    _policy("WS", "/ws/ocr", SUBMIT, "connect"),
    _policy("WS", "/v1/ws", SUBMIT, "connect"),
    _policy("GET", "/v1/ws", AUTHENTICATED),  # responds with instructions
    _policy("POST", "/v1/tickets", SUBMIT),
    _policy("POST", "/v1/jobs", SUBMIT, "create"),
    _policy("GET", "/v1/jobs", READ, "read"),
    _policy("GET", "/v1/jobs/{id}", READ, "read"),
    _policy("DELETE", "/v1/jobs/{id}", SUBMIT, "delete"),
    _policy("POST", "/v1/batch", SUBMIT, "create"),
    _policy("GET", "/v1/batch/{id}", READ, "read"),
    _policy("DELETE", "/v1/batch/{id}", SUBMIT, "delete"),
    _policy("GET", "/v1/batch/{id}/results", READ, "export"),
    _policy("GET", "/v1/records", READ, "read"),
    _policy("GET", "/v1/records/export", READ, "export"),
    _policy("GET", "/v1/records/{id}", READ, "read"),
    _policy("GET", "/v1/records/{id}/image", READ, "read"),
    _policy("DELETE", "/v1/records/{id}", SUBMIT, "delete"),
    _policy("GET", "/metrics", READ),
    _policy("GET", "/v1/sync", ADMIN),
    _policy("GET", "/v1/admin/keys", ADMIN),
    _policy("GET", "/v1/admin/audit", ADMIN, "read"),
    _policy("*", "/v1/admin/{path:path}", ADMIN, "admin"),
    # The web page. Its static files require any identity; requests that start a recognition require `submit`. Gradio's own login
    # and monitoring are not used.
    _policy("GET", "/", SUBMIT),
    _policy("GET", "/config", SUBMIT),
    _policy("GET", "/config/", SUBMIT),
    _policy("GET", "/theme.css", AUTHENTICATED),
    _policy("GET", "/favicon.ico", AUTHENTICATED),
    _policy("GET", "/robots.txt", AUTHENTICATED),
    _policy("GET", "/manifest.json", AUTHENTICATED),
    _policy("GET", "/pwa_icon", AUTHENTICATED),
    _policy("GET", "/pwa_icon/{size}", AUTHENTICATED),
    _policy("GET", "/svelte/{path:path}", AUTHENTICATED),
    _policy("GET", "/static/{path:path}", AUTHENTICATED),
    _policy("GET", "/assets/{path:path}", AUTHENTICATED),
    _policy("POST", "/page/uploads", SUBMIT),
    _policy("GET", "/page/previews/{token}/{number}", SUBMIT),
    _policy("POST", "/gradio_api/queue/join", SUBMIT),
    _policy("GET", "/gradio_api/queue/data", SUBMIT),
    _policy("GET", "/gradio_api/heartbeat/{page}", SUBMIT),
    _policy("GET", "/gradio_api/app_id", SUBMIT),
    _policy("*", "/gradio_api/{path:path}", ADMIN),  # `web.session_isolation` blocks these
    _policy("POST", "/login/", ADMIN),
    _policy("GET", "/logout", ADMIN),
    _policy("GET", "/monitoring", ADMIN),
    _policy("GET", "/monitoring/{path:path}", ADMIN),
)
DEFAULT_POLICY = _policy("*", "{path:path}", ADMIN)


def policy_for(method: str, path: str) -> RoutePolicy:
    """Return the first matching policy. HEAD requests have the policy of GET."""
    method = "GET" if method == "HEAD" else method
    return next((policy for policy in ROUTE_POLICIES if policy.matches(method, path)), DEFAULT_POLICY)
