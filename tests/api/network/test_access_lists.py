"""Addresses that may not come in are sent away, by every door; what a client says of its address changes nothing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from api.app import create_app
from hunyuanocr.config import NetworkSettings, Settings, load_settings
from hunyuanocr.errors import ConfigError
from hunyuanocr.pipeline import Pipeline
from tests.api.conftest import served, wait_ready
from tests.support.fake_backend import FakeBackend, picture

PATHS = ["/health", "/version", "/v1/models", "/docs", "/openapi.json", "/docs/assets/swagger-ui.css", "/nowhere"]


@pytest.mark.parametrize(("lists", "let_in", "sent_away"), [
    ({"deny": ["192.0.2.0/25"]}, ["192.0.2.200", "198.51.100.1", "2001:db8::1"], ["192.0.2.7", "::ffff:192.0.2.7"]),
    ({"allow": ["192.0.2.0/24", "2001:db8::/32"]}, ["192.0.2.7", "2001:db8::1"], ["198.51.100.1", "127.0.0.1", "::1", "me"]),
    ({"allow": ["192.0.2.0/24"], "deny": ["192.0.2.7"]}, ["192.0.2.8"], ["192.0.2.7", "192.0.3.8"]),
])  # fmt: skip
async def test_access_lists(come: Any, lists: dict[str, list[str]], let_in: list[str], sent_away: list[str]) -> None:
    visit = await come(**lists)
    for address in let_in:
        async with visit(address) as client:
            assert (await client.get("/version")).status_code == 200, address
    for address in sent_away:
        async with visit(address) as client:
            for path in PATHS:
                r = await client.get(path)
                assert (r.status_code, r.json()["code"]) == (403, "address_refused"), (address, path)
                assert r.json()["request_id"] == r.headers["x-request-id"]
            assert (await client.post("/ocr", files={"file": picture()})).status_code == 403
            asked = {"origin": "https://till.shop.lan", "access-control-request-method": "POST"}
            assert (await client.options("/ocr", headers=asked)).status_code == 403


async def test_forged_forwarding_headers_are_ignored(come: Any) -> None:
    visit = await come(allow=["192.0.2.7", "10.0.0.0/8"], trusted_proxies=["10.0.0.1"])
    forged = {"x-forwarded-for": "192.0.2.7", "x-real-ip": "192.0.2.7", "forwarded": "for=192.0.2.7"}
    async with visit("198.51.100.1", **forged) as stranger:
        assert (await stranger.get("/version")).status_code == 403
    async with visit("192.0.2.7", **{"x-forwarded-for": "198.51.100.1"}) as friend:
        assert (await friend.get("/version")).status_code == 200
    async with visit("10.0.0.1", **{"x-forwarded-for": "198.51.100.1"}) as through_the_proxy:
        assert (await through_the_proxy.get("/version")).status_code == 403
    async with visit("10.0.0.1", **{"x-forwarded-for": "192.0.2.7, 198.51.100.1"}) as liar_behind_the_proxy:
        assert (await liar_behind_the_proxy.get("/version")).status_code == 403
    async with visit("10.0.0.1", **{"x-forwarded-for": "198.51.100.1, 192.0.2.7"}) as friend_behind_the_proxy:
        assert (await friend_behind_the_proxy.get("/version")).status_code == 200


async def test_an_untrusted_local_proxy_is_not_local(come: Any) -> None:
    visit = await come()
    expected = {"backend": "ppocr", "model_path": "/none"}
    for headers in ({"x-forwarded-for": "127.0.0.1"}, {"x-real-ip": "127.0.0.1"}, {"forwarded": "for=127.0.0.1"}):
        async with visit("127.0.0.1", **headers) as client:
            assert (await client.get("/version")).status_code == 200
            assert (await client.post("/v1/admin/model", json=expected)).status_code in (401, 403), headers
    visit = await come(trusted_proxies=["127.0.0.1"])
    async with visit("127.0.0.1", **{"x-forwarded-for": "192.0.2.7"}) as client:
        assert (await client.post("/v1/admin/model", json=expected)).status_code in (401, 403)


def test_access_lists_apply_to_sockets() -> None:
    settings = Settings(network=NetworkSettings(deny=["127.0.0.2"]))
    with served(create_app(settings, Pipeline(FakeBackend(), settings))) as base:
        wait_ready(base)
        address = base.replace("http", "ws")
        for path in ("/v1/ws", "/ws/ocr"):
            with connect(f"{address}{path}", open_timeout=60) as socket:
                socket.send('{"type": "ping"}')
                assert "pong" in socket.recv(60)
            with pytest.raises(InvalidStatus) as refused:
                connect(f"{address}{path}", open_timeout=60, source_address=("127.0.0.2", 0))
            assert refused.value.response.status_code == 403
            assert b"address_refused" in refused.value.response.body
        transport = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=transport, timeout=60) as client:
            assert client.get(f"{base}/health").status_code == 403


@pytest.mark.parametrize("wrong", ["192.168.1.5/24", "192.168.1", "shop", "192.168.1.0/33"])
def test_an_invalid_network_fails_at_start(wrong: str) -> None:
    for name in ("allow", "deny", "trusted_proxies"):
        with pytest.raises(ConfigError, match=f"network.{name}"):
            load_settings(network={name: [wrong]})
