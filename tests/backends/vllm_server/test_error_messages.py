"""vLLM's own words: shown before any client has sent data, and kept out of the log where they may repeat what was sent."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from hunyuanocr import log_setup
from hunyuanocr.backends.vllm_server import command, openai_protocol
from hunyuanocr.backends.vllm_server.process import VllmProcess
from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError

ENGINE = """
import http.server, os, socketserver, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def do_POST(self):
        print("pydantic.ValidationError: input_value='Mrs Smith 4711'", flush=True)
        os._exit(1)
    def address_string(self): return "here"
    def log_message(self, *_): pass
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): pass
if sys.argv[1] == "broken":
    sys.exit("ValueError: no model of the kind abacus")
Server("socket", Answer).serve_forever()
"""


@pytest.fixture
def engine(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`engine("whole")` → a Child whose engine answers, and ends with words when it is asked; "broken" never answers."""
    monkeypatch.setattr(command, "PYTHON", tmp_path / "python")
    (tmp_path / "python").symlink_to(sys.executable)
    (tmp_path / "model").mkdir()

    async def probe(client: httpx.AsyncClient) -> None:
        (await client.get("/health")).raise_for_status()

    def make(kind: str) -> VllmProcess:
        made = VllmProcess(Settings(device="cpu"), tmp_path / "model", "m", probe)
        made.backoffs_s, made.max_early_exits = (0.0,), 1
        made.command = [sys.executable, "-c", ENGINE, kind]
        return made

    return make


async def test_words_after_the_first_answer_are_not_logged(engine: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    vllm = engine("whole")
    await vllm.start()
    with pytest.raises(httpx.TransportError):
        await vllm.client.post("/v1/chat/completions", content=b"Mrs Smith 4711")
    async with asyncio.timeout(60):
        while "vLLM exited" not in caplog.text:
            await asyncio.sleep(0.01)
    await vllm.close()
    assert "vLLM exited (pydantic.ValidationError);" in caplog.text
    assert "Smith" not in caplog.text


async def test_words_of_an_engine_that_nobody_could_ask_are_reported(
    engine: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    vllm = engine("broken")
    with pytest.raises(ConfigError, match="no model of the kind abacus"):
        await vllm.start()
    assert "no model of the kind abacus" in caplog.text


def test_a_refusal_is_reported_to_the_client_and_not_to_the_log() -> None:
    error = openai_protocol.map_error(400, "1 validation error: input_value='Mrs Smith 4711'")
    assert "Smith" in error.hint
    assert log_setup.format_exception_chain(error) == "hunyuanocr.errors.backend.BackendFailed: vLLM refused the request (400)."
