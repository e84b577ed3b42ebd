"""What every door asks for: one table for routes, mounts and sockets, the page's too. What is not in it asks for `admin`.

A test walks the application and fails for a door that has no line here. Paths are written as the router has them, and matched
by its own rules. `WS` stands for a WebSocket, `*` for every other method. The first line that fits counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from starlette.routing import compile_path

from api.security.identity import Scope


class Public(StrEnum):
    """Needs that are no scopes."""

    OPEN = "open"  # for everybody
    KNOWN = "known"  # for whoever has an identity


OPEN, KNOWN = Public.OPEN, Public.KNOWN
READ, SUBMIT, ADMIN = Scope.READ, Scope.SUBMIT, Scope.ADMIN


@dataclass(frozen=True)
class Door:
    """`action` is what the audit log calls it; None is not worth a line there."""

    methods: frozenset[str]
    path: str
    needs: Scope | Public
    action: str | None
    pattern: re.Pattern[str]

    def fits(self, method: str, path: str) -> bool:
        """Whether a request is for this door."""
        known = method in self.methods or ("*" in self.methods and method != "WS")
        return known and self.pattern.fullmatch(path) is not None


def _door(methods: str, path: str, needs: Scope | Public, action: str | None = None) -> Door:
    return Door(frozenset(methods.split()), path, needs, action, compile_path(path)[0])


DOORS = (
    _door("GET", "/health", OPEN),
    _door("GET", "/ready", OPEN),
    _door("GET", "/version", OPEN),
    _door("GET POST", "/login", OPEN),
    _door("POST", "/logout", OPEN),
    _door("GET", "/v1/models", KNOWN),
    _door("GET", "/v1/models/{model:path}", KNOWN),
    _door("GET", "/docs", KNOWN),
    _door("GET", "/openapi.json", KNOWN),
    _door("GET", "/docs/assets/{path:path}", KNOWN),
    _door("POST", "/ocr", SUBMIT, "create"),
    _door("POST", "/v1/ocr", SUBMIT, "create"),
    _door("POST", "/v1/chat/completions", SUBMIT, "create"),
    _door("WS", "/ws/ocr", SUBMIT, "connect"),
    _door("WS", "/v1/ws", SUBMIT, "connect"),
    _door("GET", "/v1/ws", KNOWN),  # explains itself
    _door("POST", "/v1/tickets", SUBMIT),
    _door("POST", "/v1/jobs", SUBMIT, "create"),
    _door("GET", "/v1/jobs", READ, "read"),
    _door("GET", "/v1/jobs/{id}", READ, "read"),
    _door("DELETE", "/v1/jobs/{id}", SUBMIT, "delete"),
    _door("POST", "/v1/batch", SUBMIT, "create"),
    _door("GET", "/v1/batch/{id}", READ, "read"),
    _door("DELETE", "/v1/batch/{id}", SUBMIT, "delete"),
    _door("GET", "/v1/batch/{id}/results", READ, "export"),
    _door("GET", "/v1/records", READ, "read"),
    _door("GET", "/v1/records/export", READ, "export"),
    _door("GET", "/v1/records/{id}", READ, "read"),
    _door("GET", "/v1/records/{id}/image", READ, "read"),
    _door("DELETE", "/v1/records/{id}", SUBMIT, "delete"),
    _door("GET", "/metrics", READ),
    _door("GET", "/v1/sync", ADMIN),
    _door("GET", "/v1/admin/keys", ADMIN),
    _door("GET", "/v1/admin/audit", ADMIN, "read"),
    _door("*", "/v1/admin/{path:path}", ADMIN, "admin"),
    # The page. What it is made of is for whoever is known; what makes the reader work is for those who may submit. Gradio's own
    # login and monitoring are not used.
    _door("GET", "/", SUBMIT),
    _door("GET", "/config", SUBMIT),
    _door("GET", "/config/", SUBMIT),
    _door("GET", "/theme.css", KNOWN),
    _door("GET", "/favicon.ico", KNOWN),
    _door("GET", "/robots.txt", KNOWN),
    _door("GET", "/manifest.json", KNOWN),
    _door("GET", "/pwa_icon", KNOWN),
    _door("GET", "/pwa_icon/{size}", KNOWN),
    _door("GET", "/svelte/{path:path}", KNOWN),
    _door("GET", "/static/{path:path}", KNOWN),
    _door("GET", "/assets/{path:path}", KNOWN),
    _door("POST", "/page/uploads", SUBMIT),
    _door("GET", "/page/previews/{token}/{number}", SUBMIT),
    _door("POST", "/gradio_api/queue/join", SUBMIT),
    _door("GET", "/gradio_api/queue/data", SUBMIT),
    _door("GET", "/gradio_api/heartbeat/{page}", SUBMIT),
    _door("GET", "/gradio_api/app_id", SUBMIT),
    _door("*", "/gradio_api/{path:path}", ADMIN),  # `web.own` serves none of it
    _door("POST", "/login/", ADMIN),
    _door("GET", "/logout", ADMIN),
    _door("GET", "/monitoring", ADMIN),
    _door("GET", "/monitoring/{path:path}", ADMIN),
)  # fmt: skip
UNKNOWN = _door("*", "{path:path}", ADMIN)


def door_of(method: str, path: str) -> Door:
    """The first door that fits; HEAD is a GET without its body."""
    method = "GET" if method == "HEAD" else method
    return next((door for door in DOORS if door.fits(method, path)), UNKNOWN)
