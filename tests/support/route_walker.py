"""All routes of an application, found by walking its routes, mounts and sockets; and how to send a request to one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

from starlette.routing import Mount, Route, WebSocketRoute

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


def routes_of(routes: list[Any], above: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of every route, however deep; a mount is a door too, with whatever path below it."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:  # FastAPI keeps routers as they are
            yield from routes_of(included.routes, above + route.include_context.prefix)
        elif isinstance(route, Mount):
            inner = route.routes
            yield from routes_of(inner, above + route.path) if inner else [("GET", f"{above}{route.path}/{{path:path}}")]
        elif isinstance(route, WebSocketRoute) or "WebSocket" in type(route).__name__:
            yield "WS", above + route.path
        elif isinstance(route, Route):
            for method in sorted(route.methods or METHODS):
                yield method, above + route.path
        else:
            raise TypeError(f"a kind of route that this walk does not know: {route!r}")


def example(path: str) -> str:
    """A path that fits."""
    return re.sub(r"\{[^}]*\}", "0" * 8, path)


Answer = tuple[int, dict[str, str]]


async def send_request(app: Any, method: str, path: str, headers: dict[str, str] | None = None) -> Answer:
    """The status and headers of the answer, as soon as it begins; then the client leaves. 101: the socket was opened."""
    socket = method == "WS"
    raw = [(b"host", b"192.168.1.5:8000"), *((k.lower().encode(), v.encode()) for k, v in (headers or {}).items())]
    scope: Any = {
        "type": "websocket" if socket else "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": raw,
        "scheme": "ws" if socket else "http",
        "client": ("192.168.1.20", 4711),
        "server": ("192.168.1.5", 8000),
        "state": {},
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    } | ({} if socket else {"method": method})
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    incoming: list[dict[str, Any]] = [{"type": "websocket.connect"}] if socket else [{"type": "http.request", "body": b""}]

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop(0)
        await answered
        return {"type": "websocket.disconnect", "code": 1000} if socket else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        status = {"websocket.accept": 101, "websocket.close": 403}.get(message["type"], message.get("status"))
        if status is not None and not answered.done():
            answered.set_result((status, {k.decode().lower(): v.decode() for k, v in message.get("headers", [])}))

    running = asyncio.create_task(app(scope, receive, send))
    await asyncio.wait((running, answered), timeout=60, return_when=asyncio.FIRST_COMPLETED)
    if not answered.done() and running.done():
        running.result()
    try:
        return answered.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def denied(status: int, headers: dict[str, str]) -> bool:
    """Whether the guard said no; what stands behind it may say 403 for reasons of its own."""
    return status in (401, 403) and "www-authenticate" in headers
