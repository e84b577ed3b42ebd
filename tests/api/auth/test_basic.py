"""HTTP Basic: the key as the password, wherever a key is accepted, and never a browser's own dialog over the page."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.api.auth.conftest import AWAY, code, token
from tests.api.auth.test_websockets import listening, pong, refused, revoke
from tests.support.fake_backend import picture, wait_until

FILE = {"file": picture()}
BROWSERS = [
    {"Accept": "text/html,application/xhtml+xml"},
    {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "http://192.168.1.5:8000"},
    {"Referer": "http://192.168.1.5:8000/"},
    {"User-Agent": "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36"},
    {"X-Requested-With": "XMLHttpRequest"},
]
PROGRAMS = [{}, {"User-Agent": "Mozilla/4.0 (compatible; Win32; WinHttp.WinHttpRequest.5)"}, {"Accept": "*/*"}]


def basic(password: str, user: str = "camera") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def test_the_password_of_basic_is_a_key(running_app: Any) -> None:
    shop = running_app.keys["shop"]
    for password, user in ((shop, "camera"), (shop, ""), (shop, "相机"), (token(), "nurse"), (f" {shop} ", "a b")):
        async with running_app.client(headers=basic(password, user)) as client:
            assert (await client.post("/v1/ocr", files=FILE)).status_code == 200
            assert (await client.get("/v1/models")).status_code == 200
    async with running_app.client(headers=basic(running_app.keys["reader"])) as client:
        assert code(await client.post("/v1/ocr", files=FILE)) == (403, "missing_scope")


async def test_a_wrong_password_is_refused_and_counted(running_app: Any) -> None:
    shop = running_app.keys["shop"]
    wrong = [basic("wrong"), basic("", shop), basic(shop + "x"), {"Authorization": "Basic !!!"}, {"Authorization": "basic "}]
    for headers in wrong:
        async with running_app.client(headers=headers) as client:
            assert code(await client.get("/v1/models")) == (401, "bad_key"), headers
    await running_app.authenticator.audit_log.flush()
    async with running_app.client("admin") as client:
        entries = (await client.get("/v1/admin/audit")).json()["data"]
    assert sum(entry["times"] for entry in entries if entry["action"] == "refused") == len(wrong)


async def test_programs_are_offered_both_schemes_and_browsers_never_basic(build: Any) -> None:
    running_app = await build(**AWAY, network={"auth_failures_per_minute": 0})
    for headers, offered in [(h, False) for h in BROWSERS] + [(h, True) for h in PROGRAMS]:
        for wrong in ({}, basic("wrong"), {"X-API-Key": "wrong"}):
            async with running_app.client(headers={"User-Agent": "camera/1"} | headers | wrong) as client:
                for path in ("/v1/models", "/docs/assets/a.js", "/v1/records"):
                    answer = await client.get(path)
                    challenges = answer.headers.get_list("www-authenticate")
                    assert (answer.status_code, challenges[0].startswith("Bearer")) == (401, True)
                    assert [c for c in challenges[1:] if c.startswith("Basic realm=")] == challenges[1:]
                    assert bool(challenges[1:]) is offered, (headers, path)


async def test_a_scope_that_is_missing_asks_for_no_password(running_app: Any) -> None:
    async with running_app.client("reader") as client:
        answer = await client.post("/v1/ocr", files=FILE)
    assert answer.headers.get_list("www-authenticate") == ['Bearer error="insufficient_scope"']


async def test_a_password_for_a_proxy_does_no_harm(build: Any) -> None:
    made = await build(**AWAY, security={"devices": ["192.168.1.77"]})
    made.key("shop")
    proxy = basic("password of the proxy")
    async with made.client(headers=proxy | {"X-API-Key": made.keys["shop"]}) as client:
        assert (await client.get("/v1/models")).status_code == 200
    async with made.client(headers=proxy, address="192.168.1.77") as client:
        assert (await client.get("/v1/models")).status_code == 200
    async with made.client(headers=proxy) as client:
        assert code(await client.get("/v1/models")) == (401, "bad_key")
        await client.post("/login", data={"key": made.keys["shop"]})
        assert (await client.get("/v1/models")).status_code == 200


async def test_another_website_cannot_use_a_password_that_the_browser_keeps(running_app: Any) -> None:
    own, foreign = {"Origin": "http://192.168.1.5:8000"}, {"Origin": "http://evil.example"}
    async with running_app.client(headers=basic(running_app.keys["shop"])) as client:
        assert (await client.post("/v1/ocr", files=FILE, headers=own)).status_code == 200
        assert code(await client.post("/v1/ocr", files=FILE, headers=foreign)) == (403, "foreign_site")


async def test_a_websocket_accepts_basic_in_its_handshake(running_app: Any) -> None:
    async with listening(running_app) as place:
        async with connect(f"ws://{place}/v1/ws", additional_headers=basic(running_app.keys["shop"])) as socket:
            await socket.send(json.dumps({"type": "auth", "key": "not needed"}))
            assert json.loads(await socket.recv()) == {"type": "authenticated", "owner": "shop"}
            assert await pong(socket)
        assert await refused(f"ws://{place}/v1/ws", additional_headers=basic("wrong")) == 401
        async with httpx.AsyncClient(base_url=f"http://{place}", auth=("any", running_app.keys["shop"])) as client:
            ticket = (await client.post("/v1/tickets")).json()["ticket"]
        async with connect(f"ws://{place}/v1/ws?ticket={ticket}", additional_headers=basic("of a proxy")) as socket:
            assert await pong(socket)


@pytest.mark.parametrize("revoked", [True, False])
async def test_a_request_that_waits_while_its_key_is_revoked_gets_no_answer(running_app: Any, revoked: Any) -> None:
    reader = running_app.app.state.pipeline.backend
    reader.gate = asyncio.Event()
    async with running_app.client("clinic") as client:
        id = (await client.post("/v1/jobs", files=FILE)).json()["id"]
        waiting = asyncio.create_task(client.get(f"/v1/jobs/{id}?wait=60"))
        await wait_until(lambda: reader.begun == 1)
        if revoked:
            revoke(running_app, "clinic")
        await asyncio.sleep(1.1)  # a shorter wait is answered
        reader.gate.set()
        answer = await waiting
    if revoked:
        assert code(answer) == (401, "bad_key")
        assert "result" not in answer.text
    else:
        assert (answer.status_code, answer.json()["status"]) == (200, "done")
