"""The order of the ASGI layers, by its effect: a request that two layers refuse gets the answer of the outer one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from hunyuanocr.config import Settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.api_keys import DEFAULT_SCOPES, create_api_key
from hunyuanocr.store import keys
from tests.support.fake_backend import FakeBackend, picture, wait_until

ORDER = [
    "PathMiddleware",
    "ProxyHeadersMiddleware",
    "RequestContext",
    "SecurityHeadersMiddleware",
    "IpFilterMiddleware",
    "CORSMiddleware",
    "IpRateLimitMiddleware",
    "ContentEncodingMiddleware",
    "BodyLimitMiddleware",
    "AuthMiddleware",
    "KeyRateLimitMiddleware",
]
CLIENT, BLOCKED, ORIGIN = "192.168.1.20", "203.0.113.9", "https://shop.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "X-API-Key"}
TOO_LARGE = b"x" * 200_000  # of a body without images

Make = Callable[..., Any]


class Site:
    """A running app, and clients at any address."""

    def __init__(self, app: Any) -> None:
        self.app = app
        text, self.row = create_api_key("till", "shop", DEFAULT_SCOPES)
        self.key = {"X-API-Key": text}

    def at(self, address: str = CLIENT, **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(address, 4711))
        return httpx.AsyncClient(transport=transport, base_url="http://192.168.1.5:8000", timeout=60, headers=headers)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """`await make(per_ip=1)` → a Site on the network, which requires keys, with these network settings."""
    async with AsyncExitStack() as stack:

        async def make(**network: Any) -> Site:
            network = {"deny": [BLOCKED], "trusted_proxies": ["10.0.0.1"], "origins": [ORIGIN]} | network
            settings = Settings(data=tmp_path / "data", server={"host": "0.0.0.0"}, network=network)
            pipeline = Pipeline(FakeBackend(), settings)
            app = create_app(settings, pipeline)
            await stack.enter_async_context(app.router.lifespan_context(app))
            await wait_until(lambda: pipeline.state.ready)
            site = Site(app)
            with app.state.authenticator.database.transaction() as conn:
                keys.insert(conn, site.row)
            app.state.authenticator.api_keys.invalidate()
            return site

        yield make


async def test_the_stack_is_the_list_and_the_page_adds_nothing_to_it(make: Make) -> None:
    from web.app import mount_page

    app = (await make()).app
    assert [layer.cls.__name__ for layer in app.user_middleware] == ORDER
    mount_page(app, app.state.pipeline, app.state.settings)
    assert [layer.cls.__name__ for layer in app.user_middleware] == ORDER


async def test_proxy_headers_come_before_the_address_filter(make: Make) -> None:
    client = (await make()).at("10.0.0.1", **{"X-Forwarded-For": BLOCKED})
    assert (await client.get("/health")).status_code == 403
    assert (await client.get("/health", headers={"X-Forwarded-For": CLIENT})).status_code == 200


async def test_refusals_have_an_id_and_security_headers_and_are_counted(make: Make) -> None:
    site = await make()
    r = await site.at(BLOCKED, **{"X-Request-Id": "r-1"}).get("/health")
    assert (r.status_code, r.headers["x-request-id"], r.json()["request_id"]) == (403, "r-1", "r-1")
    assert r.headers["x-content-type-options"] == "nosniff"
    text, _ = await site.app.state.services.metrics.render()
    assert b'hunyuanocr_http_requests_total{method="other",route="other",status="403"} 1.0' in text


async def test_the_address_filter_comes_before_cors(make: Make) -> None:
    site = await make()
    assert (await site.at(BLOCKED).options("/v1/jobs", headers=PREFLIGHT)).status_code == 403
    assert (await site.at().options("/v1/jobs", headers=PREFLIGHT)).status_code == 200, "a preflight carries no key"


async def test_cors_comes_before_the_rate_limit_of_addresses(make: Make) -> None:
    client = (await make(requests_per_minute_per_ip=1)).at(Origin=ORIGIN)
    for _ in range(3):
        assert (await client.options("/v1/jobs", headers=PREFLIGHT)).status_code == 200
    assert (await client.get("/version")).status_code == 200
    refused = await client.get("/version")
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (429, ORIGIN)


async def test_the_rate_limit_of_addresses_comes_before_body_limit_and_authentication(make: Make) -> None:
    site = await make(requests_per_minute_per_ip=1)
    client = site.at()
    assert (await client.get("/version")).status_code == 200
    headers: dict[str, str]
    for headers in ({}, site.key):
        assert (await client.post("/v1/tickets", content=TOO_LARGE, headers=headers)).status_code == 429


async def test_wrong_keys_are_limited_before_a_key_is_checked(make: Make) -> None:
    site = await make(auth_failures_per_minute=1)
    client = site.at()
    assert (await client.get("/v1/models", headers={"X-API-Key": "hyo_wrong"})).status_code == 401
    assert (await client.get("/v1/models", headers=site.key)).status_code == 429


async def test_authentication_reads_no_body_and_the_body_limit_holds_behind_it(make: Make) -> None:
    site = await make()
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(40):
            read += 1
            yield TOO_LARGE

    assert (await site.at().post("/v1/batch", content=body())).status_code == 401
    unauthenticated = read
    r = await site.at().post("/login", content=TOO_LARGE, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert r.status_code == 413, "also where no key is required"
    assert unauthenticated == 0


async def test_the_rate_limit_of_keys_comes_after_authentication(make: Make) -> None:
    site = await make(requests_per_minute_per_key=1)
    with_key, without = site.at(**site.key), site.at()
    assert [(await with_key.get("/v1/models")).status_code for _ in range(2)] == [200, 429]
    assert (await without.get("/v1/models")).status_code == 401
    r = await with_key.post("/v1/ocr", files={"file": picture()})
    assert r.status_code == 429, "counted per identity, over all routes"
