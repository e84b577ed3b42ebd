"""Sockets of a real server: keys in headers, in the first message, tickets, and what ends one."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.asyncio import client
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.auth.authenticator import TICKET_S, SocketLimits
from api.auth.tickets import TicketStore
from api.uvicorn_config import uvicorn_options
from hunyuanocr.clock import utc_now
from hunyuanocr.services.api_keys import ALL_SCOPES, Scope
from hunyuanocr.store import keys
from tests.api.auth.conftest import JWT, Build, token
from tests.support.fake_backend import wait_until

connect: Any = partial(client.connect, open_timeout=60)
PATHS = ("/v1/ws", "/ws/ocr")


@asynccontextmanager
async def listening(running_app: Any) -> AsyncIterator[str]:
    """The app behind uvicorn, in this loop; its address without the scheme."""
    server = uvicorn.Server(
        uvicorn.Config(
            running_app.app,
            host="127.0.0.1",
            port=0,
            lifespan="off",
            log_level="warning",
            **uvicorn_options(running_app.app.state.settings),
        )
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture
async def at(build: Build) -> AsyncIterator[Any]:
    """A running app that requires keys, and where it listens."""
    running_app = await build(security={"require_auth_on_loopback": True, "jwt": JWT}, network={"auth_failures_per_minute": 0})
    running_app.key("camera", [Scope.SUBMIT])
    running_app.key("reader", [Scope.READ])
    running_app.key("admin", ALL_SCOPES)
    running_app.key("revoked", ALL_SCOPES, ended="revoked")
    running_app.key("expired", ALL_SCOPES, ended="expired")
    async with listening(running_app) as place:
        yield running_app, place


async def pong(socket: ClientConnection) -> Any:
    await socket.send(json.dumps({"type": "ping"}))
    return json.loads(await asyncio.wait_for(socket.recv(), 60))["type"] == "pong"


async def refused(url: Any, **options: Any) -> int:
    """The status with which the handshake is refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, **options):
            pass
    return caught.value.response.status_code


async def ticket(running_app: Any, place: Any, key: str = "camera") -> Any:
    async with httpx.AsyncClient(base_url=f"http://{place}", timeout=60) as client:
        answer = await client.post("/v1/tickets", headers={"X-API-Key": running_app.keys[key]})
    assert answer.json()["expires_in"] == 30
    return answer.json()["ticket"]


async def test_a_key_in_the_handshake(at: Any) -> None:
    running_app, place = at
    for path in PATHS:
        for header in (
            {"X-API-Key": running_app.keys["camera"]},
            {"Authorization": f"Bearer {running_app.keys['camera']}"},
            {"Authorization": f"Bearer {token()}"},
        ):
            async with connect(f"ws://{place}{path}", additional_headers=header) as socket:
                assert await pong(socket)
        for bad in (running_app.keys["revoked"], running_app.keys["expired"], "wrong", token(exp=1), token("", "none")):
            assert await refused(f"ws://{place}{path}", additional_headers={"X-API-Key": bad}) == 401
        assert await refused(f"ws://{place}{path}", additional_headers={"X-API-Key": running_app.keys["reader"]}) == 403
    key = running_app.keys["camera"]
    for lasting in ("key", "token", "api_key", "ticket"):
        if lasting == "ticket":
            assert await refused(f"ws://{place}/v1/ws?ticket={key}") == 401
            continue
        async with connect(f"ws://{place}/v1/ws?{lasting}={key}") as socket:
            await socket.send(json.dumps({"type": "ping"}))
            assert json.loads(await socket.recv())["error"]["code"] == "unauthorized", "no lasting key in an address"


@pytest.mark.parametrize("path", PATHS)
async def test_a_key_in_the_first_message(at: Any, path: Any) -> None:
    running_app, place = at
    for key in (running_app.keys["camera"], token()):
        async with connect(f"ws://{place}{path}") as socket:
            await socket.send(json.dumps({"type": "auth", "key": key}))
            assert json.loads(await socket.recv())["type"] == "authenticated"
            assert await pong(socket)
    async with connect(f"ws://{place}{path}") as socket:
        await socket.send(json.dumps({"type": "auth", "ticket": await ticket(running_app, place)}))
        assert json.loads(await socket.recv()) == {"type": "authenticated", "owner": "camera"}


async def test_invalid_first_messages(at: Any) -> None:
    running_app, place = at
    revoked, reader = running_app.keys["revoked"], running_app.keys["reader"]
    for said, code, close in (
        ({"type": "auth", "key": "wrong"}, "bad_key", 3000),
        ({"type": "auth", "key": revoked}, "bad_key", 3000),
        ({"type": "auth", "key": token(exp=1)}, "bad_key", 3000),
        ({"type": "auth"}, "bad_key", 3000),
        ({"type": "auth", "key": 7}, "bad_key", 3000),
        ({"type": "auth", "key": reader}, "missing_scope", 3003),
        ({"type": "frame", "frame_id": 1, "image": "aaaa"}, "unauthorized", 3000),
        ([], "unauthorized", 3000),
        ("[" * 5000, "unauthorized", 3000),
        (b"\x00\x01", "unauthorized", 3000),
        ("", "unauthorized", 3000),
        ({"type": "auth", "key": "x" * 20_000}, "unauthorized", 3000),
    ):
        async with connect(f"ws://{place}/v1/ws") as socket:
            await socket.send(said if isinstance(said, (str, bytes)) else json.dumps(said))
            assert json.loads(await socket.recv())["error"]["code"] == code, said
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd.code == close
    assert not running_app.authenticator.pending_sockets


async def test_authentication_times_out(at: Any) -> None:
    running_app, place = at
    running_app.authenticator.socket_limits.timeout_s = 0.3
    async with connect(f"ws://{place}/v1/ws") as socket:
        assert json.loads(await socket.recv())["error"]["code"] == "unauthorized"
    while running_app.authenticator.pending_sockets:  # the server hears of the end a moment later than we
        await asyncio.sleep(0.01)
    running_app.authenticator.socket_limits = SocketLimits(pending=1, timeout_s=60.0)
    async with connect(f"ws://{place}/v1/ws") as silent, connect(f"ws://{place}/v1/ws") as more:
        assert json.loads(await more.recv())["error"]["code"] == "queue_full"
        await silent.send(json.dumps({"type": "auth", "key": running_app.keys["camera"]}))
        assert json.loads(await silent.recv())["type"] == "authenticated"


async def test_pending_connections_are_limited_per_address(at: Any) -> None:
    running_app, place = at
    async with AsyncExitStack() as stack:
        for _ in range(running_app.authenticator.socket_limits.pending_per_client):
            await stack.enter_async_context(connect(f"ws://{place}/v1/ws"))
        await wait_until(
            lambda: (
                running_app.authenticator.pending_sockets.total() == running_app.authenticator.socket_limits.pending_per_client
            )
        )
        async with connect(f"ws://{place}/v1/ws") as more:
            assert json.loads(await more.recv())["error"]["code"] == "queue_full"
        async with connect(f"ws://{place}/v1/ws", local_addr=("127.0.0.2", 0)) as other:
            await other.send(json.dumps({"type": "auth", "key": running_app.keys["camera"]}))
            assert json.loads(await other.recv())["type"] == "authenticated"
    await wait_until(lambda: not running_app.authenticator.pending_sockets)


async def test_a_ticket_is_valid_once_and_expires(at: Any) -> None:
    running_app, place = at
    once = await ticket(running_app, place)
    async with connect(f"ws://{place}/v1/ws?ticket={once}&instruction=all") as socket:
        assert json.loads(await socket.recv())["type"] == "configured"
        assert await pong(socket)
    assert await refused(f"ws://{place}/v1/ws?ticket={once}") == 401
    for path in ("/v1/ws", "/ws/ocr"):
        assert await refused(f"ws://{place}{path}?ticket=made-up") == 401
    now = [0.0]
    running_app.authenticator.tickets = TicketStore(TICKET_S, ticks=lambda: now[0])
    late = await ticket(running_app, place)
    now[0] = TICKET_S
    assert await refused(f"ws://{place}/v1/ws?ticket={late}") == 401
    async with httpx.AsyncClient(base_url=f"http://{place}", timeout=60) as client:
        assert (await client.post("/v1/tickets", headers={"X-API-Key": running_app.keys["reader"]})).status_code == 403
        assert (await client.post("/v1/tickets")).status_code == 401


async def test_a_ticket_of_a_revoked_key_is_invalid(at: Any) -> None:
    running_app, place = at
    since = await ticket(running_app, place)
    revoke(running_app, "camera")
    assert await refused(f"ws://{place}/v1/ws?ticket={since}") == 401


def revoke(running_app: Any, name: str) -> None:
    with running_app.authenticator.database.transaction() as session:
        assert keys.revoke(session, running_app.keys[name].split("_")[1], utc_now())
    running_app.authenticator.api_keys.invalidate()


async def test_revoking_a_key_closes_its_sockets(at: Any) -> None:
    running_app, place = at
    async with connect(f"ws://{place}/v1/ws", additional_headers={"X-API-Key": running_app.keys["camera"]}) as socket:
        assert await pong(socket)
        revoke(running_app, "camera")
        await socket.send(json.dumps({"type": "ping"}))
        assert json.loads(await socket.recv())["error"]["code"] == "bad_key"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd.code == 3000


async def test_cross_origin_sockets_with_a_session_are_rejected(at: Any) -> None:
    running_app, place = at
    async with httpx.AsyncClient(base_url=f"http://{place}", timeout=60) as client:
        await client.post("/login", data={"key": running_app.keys["admin"]})
        cookie = {"Cookie": f"hunyuanocr_session={client.cookies['hunyuanocr_session']}"}
    async with connect(f"ws://{place}/v1/ws", additional_headers=cookie, origin=f"http://{place}") as socket:
        assert await pong(socket)
    assert await refused(f"ws://{place}/v1/ws", additional_headers=cookie, origin="http://evil.com") == 403


async def test_cross_origin_sockets_without_authentication_are_rejected(build: Build) -> None:
    running_app = await build()
    async with listening(running_app) as place:
        async with connect(f"ws://{place}/v1/ws") as socket:
            assert await pong(socket)
        assert await refused(f"ws://{place}/v1/ws", origin="http://evil.com") == 403
        assert await refused(f"ws://{place}/v1/ws", additional_headers={"X-Forwarded-For": "10.0.0.9", "X-API-Key": "any"}) == 401
