"""Those who come too often wait, and nobody else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from api.app import create_app
from api.network.limits import NetworkLimits
from api.network.middleware import IpRateLimitMiddleware, KeyRateLimitMiddleware
from hunyuanocr.config import NetworkSettings, Settings
from hunyuanocr.pipeline import Pipeline
from tests.api.conftest import served, wait_ready
from tests.support.fake_backend import FakeBackend

pytestmark = pytest.mark.usefixtures("half_past")


async def statuses(client: Any, count: int, path: str = "/version", **more: Any) -> list[Any]:
    return [(await client.get(path, **more)).status_code for _ in range(count)]


async def test_rate_limit_by_address(come: Any) -> None:
    visit = await come(requests_per_minute_per_ip=5)
    async with visit("192.0.2.7") as till, visit("192.0.2.8") as other, visit("2001:db8::1") as six, visit("2001:db8::2") as same:
        assert await statuses(till, 7) == [200] * 5 + [429] * 2
        r = await till.get("/version")
        assert r.json()["code"] == "too_many_requests"
        assert 1 <= int(r.headers["retry-after"]) <= 60
        assert r.json()["request_id"]
        assert (await till.post("/v1/chat/completions", json={})).json()["error"]["code"] == "too_many_requests"
        for path in ("/health", "/ready"):
            assert await statuses(till, 9, path) == [200] * 9
        assert await statuses(other, 5) == [200] * 5
        assert await statuses(six, 3) + await statuses(same, 3) == [200] * 5 + [429]
        assert await statuses(till, 1, headers={"x-forwarded-for": "203.0.113.77"}) == [429]


async def test_no_limit(come: Any) -> None:
    visit = await come(requests_per_minute_per_ip=0, auth_failures_per_minute=0)
    async with visit("192.0.2.7") as till:
        assert await statuses(till, 200) == [200] * 200


def guarded(network: NetworkLimits, keys: dict[Any, Any]) -> IpRateLimitMiddleware:
    """The rates of addresses, then a check of keys as simple as can be, then the rates of keys."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        key = dict(scope["headers"]).get(b"x-api-key", b"").decode()
        if key not in keys:
            await PlainTextResponse("no", 401)(scope, receive, send)
            return
        scope.setdefault("state", {})["identity"] = SimpleNamespace(
            owner=keys[key], name=key, method="local" if key == "nobody" else "key"
        )
        await inner(scope, receive, send)

    async def ok(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("ok")(scope, receive, send)

    inner = KeyRateLimitMiddleware(ok, network)
    return IpRateLimitMiddleware(app, network)


def client_of(app: Any, address: str, key: str = "") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://x", headers={"x-api-key": key})


async def test_rate_limit_by_key() -> None:
    app = guarded(
        NetworkLimits(Settings(network=NetworkSettings(requests_per_minute_per_key=4))),
        {"a": "shop", "b": "shop", "nobody": "local"},
    )
    async with client_of(app, "192.0.2.7", "a") as here, client_of(app, "192.0.2.8", "a") as there:
        assert await statuses(here, 3) + await statuses(there, 3) == [200] * 4 + [429] * 2
        assert await statuses(here, 3, "/health") == [200] * 3
    for other in ("b", "nobody"):
        async with client_of(app, "192.0.2.7", other) as client:
            assert await statuses(client, 4) == [200] * 4
    async with client_of(app, "192.0.2.7", "nobody") as client:
        assert await statuses(client, 9) == [200] * 9, "who needs no key shares no limit of a key"


async def test_rate_limit_of_failed_authentication() -> None:
    app = guarded(NetworkLimits(Settings(network=NetworkSettings(auth_failures_per_minute=3))), {"a": "shop"})
    async with client_of(app, "192.0.2.7", "wrong") as guesser, client_of(app, "192.0.2.7", "a") as late:
        assert await statuses(guesser, 5) == [401] * 3 + [429] * 2
        r = await late.get("/version")
        assert (r.status_code, r.json()["code"]) == (429, "too_many_failures"), "the right key does not help now"
        assert int(r.headers["retry-after"]) >= 1
    async with client_of(app, "192.0.2.8", "a") as other:
        assert await statuses(other, 9) == [200] * 9, "right keys are not counted as failures"


def test_sockets_are_counted_too() -> None:
    settings = Settings(network=NetworkSettings(requests_per_minute_per_ip=3))
    with served(create_app(settings, Pipeline(FakeBackend(), settings))) as base:
        wait_ready(base)
        for _ in range(3):
            with connect(f"{base.replace('http', 'ws')}/v1/ws", open_timeout=60):
                pass
        with pytest.raises(InvalidStatus) as refused:
            connect(f"{base.replace('http', 'ws')}/v1/ws", open_timeout=60)
        assert refused.value.response.status_code == 429
        assert int(refused.value.response.headers["retry-after"]) >= 1


async def test_both_ports_count_together() -> None:
    settings = Settings(network=NetworkSettings(requests_per_minute_per_ip=3))
    network, pipeline = NetworkLimits(settings), Pipeline(FakeBackend(), settings)
    page, api = (client_of(create_app(settings, pipeline, None, network), "192.0.2.7") for _ in range(2))
    async with page, api:
        assert await statuses(page, 2) + await statuses(api, 2) + await statuses(page, 1) == [200] * 3 + [429] * 2
