"""HunyuanOCR on vLLM: a Generator in the sense of `backends.base`, over the server's OpenAI-compatible API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import httpx
import numpy as np

from hunyuanocr.backends.base import BackendName, Generation, Health, TokenChunk
from hunyuanocr.backends.vllm_server import openai_protocol
from hunyuanocr.backends.vllm_server.process import VllmProcess
from hunyuanocr.backends.vllm_server.remote_server import RemoteServer
from hunyuanocr.config import Settings
from hunyuanocr.errors import BackendFailed, BackendUnavailable

log = logging.getLogger(__name__)

_ATTEMPTS = 2
_UNLIKELY = "q7ZxJ0wV"  # no model expects it: where it is all that a schema allows, it is certain only under the schema
_SURE = -0.01


class Server(Protocol):
    """Where vLLM answers; a child of ours, or one that somebody else runs."""

    client: httpx.AsyncClient

    async def start(self) -> None:
        """Wait for its first real answer. Raises a HunyuanOcrError that says why none comes."""

    async def wait_ready(self) -> None:
        """Wait until it answers again. Raises ReaderUnavailable when that cannot be soon."""

    async def report_failure(self) -> None:
        """A request has failed: look at once whether it still answers."""

    async def health(self) -> Health:
        """Cheap; called by probes."""

    async def close(self) -> None:
        """Let it go. May be called twice."""


class VllmGenerator:
    """HunyuanOCR on vLLM. Cheap to make; `start` starts the engine, or looks for the one at `settings.vllm.url`."""

    name = BackendName.VLLM

    def __init__(self, settings: Settings, folder: Path | None = None) -> None:
        """`folder` has the weights, for an engine of our own. Raises ConfigError and MissingDependency."""
        self.model = folder.resolve().name if folder else "hunyuanocr"
        self._max_length = 0
        self._scored = False  # whether probabilities under a schema are the model's own
        self.server: Server
        if settings.vllm.url is not None:
            self.server = RemoteServer(settings.vllm.url, self._probe)
        elif folder is not None:
            self.server = VllmProcess(settings, folder, self.model, self._probe)
        else:
            raise ValueError("neither an address nor a folder of weights")

    async def start(self) -> None:
        """Wait for the first real answer. Raises ConfigError or ReaderUnavailable."""
        await self.server.start()

    async def generate(self, request: Generation) -> AsyncGenerator[TokenChunk, None]:
        """See Generator. Raises ImageTooLargeForMemory, InvalidSchema, UnreadableImage, ReaderFailed, ReaderUnavailable.

        A request of which no token has come when the engine dies is asked once more of the next engine.
        """
        if not self._max_length:
            raise BackendUnavailable("vLLM is not started.")
        body = await asyncio.to_thread(openai_protocol.build_request, request, self.model, self._max_length)
        for attempt in range(1, _ATTEMPTS + 1):
            begun = False
            await self.server.wait_ready()
            try:
                scored = request.schema is None or self._scored
                async with aclosing(_stream(self.server.client, body, scored=scored)) as stream:
                    async for chunk in stream:
                        begun = True
                        yield chunk
                return
            except BackendUnavailable:
                await self.server.report_failure()
                if begun or attempt == _ATTEMPTS:
                    raise

    async def _probe(self, client: httpx.AsyncClient) -> None:
        """Which model it is, and one real answer. Raises a HunyuanOcrError."""
        try:
            listed = (await client.get("/v1/models", timeout=30.0)).raise_for_status().json()["data"][0]
            self.model, self._max_length = str(listed["id"]), int(listed["max_model_len"])
        except httpx.TransportError as e:
            raise BackendUnavailable(f"The connection to vLLM failed ({type(e).__name__}).") from e
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as e:
            raise BackendFailed(f"The server does not name its model as vLLM does ({type(e).__name__}).") from e
        page = np.full((64, 64, 3), 255, np.uint8)
        schema = {"type": "object", "properties": {"a": {"const": _UNLIKELY}}, "required": ["a"]}
        request = Generation((page,), "提取图中的文字。", schema, max_tokens=32)  # the first grammar takes seconds
        body = await asyncio.to_thread(openai_protocol.build_request, request, self.model, self._max_length)
        async with aclosing(_stream(client, body)) as stream:
            tokens = [token async for chunk in stream for token in chunk.tokens]
        self._scored = sum(token.logprob < _SURE for token in tokens) > 1  # one may come from before a draft model begins
        if not self._scored:
            log.warning(
                "This vLLM tells how likely a token is among those that a schema allows, not how sure the model is: "
                "extracted values get no confidence. Install scripts/vllm_plugin where it runs."
            )

    async def health(self) -> Health:
        """Ready while the engine answers."""
        return await self.server.health()

    async def close(self) -> None:
        """End the engine, if it is ours."""
        await self.server.close()


async def _stream(client: httpx.AsyncClient, body: bytes, *, scored: bool = True) -> AsyncGenerator[TokenChunk, None]:
    """One request's chunks; leaving it closes the connection, which ends the request in the engine."""
    headers = {"content-type": "application/json"}
    try:
        async with (
            client.stream("POST", "/v1/chat/completions", content=body, headers=headers) as response,
            aclosing(openai_protocol.parse_stream(response, scored=scored)) as found,
        ):
            async for chunk in found:
                yield chunk
    except httpx.TransportError as e:
        raise BackendUnavailable(f"The connection to vLLM broke ({type(e).__name__}).") from e
