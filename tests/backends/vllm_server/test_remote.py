"""A vLLM server at an address: the one of all tests of this folder, behind a port that can be closed and opened."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from hunyuanocr.backends.base import Generation
from hunyuanocr.backends.vllm_server import VllmGenerator
from hunyuanocr.backends.vllm_server.remote_server import RemoteServer
from hunyuanocr.config import Settings, VllmSettings
from hunyuanocr.errors import BackendUnavailable, ConfigError
from tests.backends.vllm_server.conftest import Answer, Loop, noise, write

pytestmark = pytest.mark.timeout(800)
SCHEMA = {"type": "object", "properties": {"a": {"enum": ["x", "yy", None]}}, "required": ["a"]}
REQUEST = Generation((noise(64, 96, 0),), "read", SCHEMA, max_tokens=60, repetition_penalty=1.0)


class Port:
    """127.0.0.1:`number` leads to a Unix socket while it is open."""

    def __init__(self, socket: Any) -> None:
        self._socket, self.number = socket, 0
        self._busy: set[Any] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", self.number)
        self.number = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    async def _lead(self, reader: Any, writer: Any) -> None:
        self._busy.add(asyncio.current_task())
        far_reader, far_writer = await asyncio.open_unix_connection(self._socket)
        try:
            await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))
        except (asyncio.CancelledError, ConnectionError):  # closed by the test, or by a client that has heard enough
            pass
        finally:
            self._busy.discard(asyncio.current_task())
            for end in (writer, far_writer):
                end.close()
                with contextlib.suppress(ConnectionError):
                    await end.wait_closed()


async def _carry(reader: Any, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
def port(vllm: VllmGenerator, loop: Loop) -> Iterator[Port]:
    server: Any = vllm.server
    made = Port(server.home / "socket")
    loop.run(made.open())
    yield made
    loop.run(made.close())


def at(port: Port, path: str = "") -> Any:
    return VllmGenerator(Settings(vllm=VllmSettings(url=f"http://127.0.0.1:{port.number}{path}")))


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_it_answers_as_a_child_does_and_runs_on(vllm: VllmGenerator, loop: Loop, port: Port, path: str) -> None:
    far = at(port, path)
    loop.run(far.start())
    assert far.model == vllm.model
    assert loop.run(write(far, REQUEST)) == loop.run(write(vllm, REQUEST))
    loop.run(far.close())
    loop.run(far.close())
    assert not loop.run(far.health()).ready
    assert loop.run(write(vllm, REQUEST)).tokens


def test_while_it_is_away_requests_are_refused_and_then_it_is_found_again(
    vllm: VllmGenerator, loop: Loop, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RemoteServer, "poll_interval_s", 0.2)
    monkeypatch.setattr(RemoteServer, "ready_timeout_s", 1.0)
    far = at(port)
    loop.run(far.start())
    loop.run(port.close())
    with pytest.raises(BackendUnavailable):
        loop.run(write(far, REQUEST))
    health = loop.run(far.health())
    assert not health.ready
    assert str(port.number) in health.detail
    loop.run(port.open())

    async def back() -> None:
        while not (await far.health()).ready:
            await asyncio.sleep(0.05)

    loop.run(back())
    assert loop.run(write(far, REQUEST)).ids == loop.run(write(vllm, REQUEST)).ids
    loop.run(far.close())


def test_a_request_that_waits_is_read_when_it_comes_back_in_time(
    vllm: VllmGenerator, loop: Loop, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RemoteServer, "poll_interval_s", 0.2)
    far = at(port)
    loop.run(far.start())

    async def away_for_a_while() -> Answer:
        await port.close()
        reading = asyncio.create_task(write(far, REQUEST))
        while (await far.health()).ready:
            await asyncio.sleep(0.05)
        await port.open()
        return await reading

    assert loop.run(away_for_a_while()).ids == loop.run(write(vllm, REQUEST)).ids
    loop.run(far.close())


def test_it_may_be_switched_on_after_us(vllm: VllmGenerator, loop: Loop, port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemoteServer, "poll_interval_s", 0.2)
    far = at(port)

    async def switched_on_late() -> None:
        await port.close()
        starting = asyncio.create_task(far.start())
        await asyncio.sleep(0.5)
        assert not starting.done()
        await port.open()
        await starting

    loop.run(switched_on_late())
    assert loop.run(far.health()).ready
    loop.run(far.close())


def test_a_stream_that_breaks_is_not_begun_again(vllm: VllmGenerator, loop: Loop, port: Port) -> None:
    """What the client has seen would come twice."""
    far = at(port)
    loop.run(far.start())
    long = Generation((), "x", {"enum": [list(range(900))]}, 4000, 1.0)

    async def broken() -> int:
        seen = 0
        async with contextlib.aclosing(far.generate(long)) as chunks:
            async for _ in chunks:
                seen += 1
                if seen == 1:
                    await port.close()
        return seen

    with pytest.raises(BackendUnavailable):
        loop.run(broken())
    loop.run(far.close())
    loop.run(port.open())  # for the fixture, which closes it


async def _nonsense(reader: Any, writer: Any) -> None:
    await reader.readline()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\nhello")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("answers", [None, _nonsense], ids=["nobody", "somebody else"])
async def test_an_address_without_vllm_is_reported_at_start(
    answers: Callable[..., Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RemoteServer, "start_timeout_s", 0.5)
    monkeypatch.setattr(RemoteServer, "poll_interval_s", 0.1)
    server = await asyncio.start_server(_nonsense, "127.0.0.1", 0)
    number = server.sockets[0].getsockname()[1]
    if answers is None:
        server.close()
        await server.wait_closed()
    far = VllmGenerator(Settings(vllm=VllmSettings(url=f"http://127.0.0.1:{number}")))
    with pytest.raises(ConfigError, match=f"127.0.0.1:{number}") as reported:
        await far.start()
    assert "--vllm-url" in reported.value.hint
    await far.close()
    server.close()


def masked(request: httpx.Request) -> httpx.Response:
    """vLLM without our plugin, after an answer of a real one: under a schema a token without a rival is certain."""
    if request.url.path == "/v1/models":
        return httpx.Response(200, json={"data": [{"id": "m", "max_model_len": 100}]})
    tokens = []
    for token in '{"a":"x"}':
        first, second = (-0.1, -2.4) if token == "x" else (0.0, -9999.0)
        rivals = [{"token": token, "logprob": first}, {"token": "y", "logprob": second}]
        tokens.append({"token": token, "logprob": first, "top_logprobs": rivals})
    choice = {"delta": {"content": '{"a":"x"}'}, "logprobs": {"content": tokens}, "token_ids": [*range(9)]}
    event = {"choices": [choice | {"finish_reason": "length"}]}
    return httpx.Response(200, content=f"data: {json.dumps(event)}\n\n")


async def test_probabilities_that_are_not_the_models_are_not_used(caplog: pytest.LogCaptureFixture) -> None:
    far = VllmGenerator(Settings(vllm=VllmSettings(url="http://127.0.0.1:1")))
    await far.server.client.aclose()
    far.server.client = httpx.AsyncClient(transport=httpx.MockTransport(masked), base_url="http://x")
    await far.start()
    assert "have no confidence" in caplog.text
    assert all(token.forced for token in (await write(far, REQUEST)).tokens)
    unasked = await write(far, Generation((), "no schema", max_tokens=60))
    assert [token.text for token in unasked.tokens if not token.forced] == ["x"], "as it came"
    await far.close()
