"""The Generator of vLLM, which uses the server's OpenAI-compatible API."""

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
from hunyuanocr.backends.vllm_server.openai_protocol import build_request, parse_stream
from hunyuanocr.backends.vllm_server.process import VllmProcess
from hunyuanocr.backends.vllm_server.remote_server import RemoteServer
from hunyuanocr.config import Settings
from hunyuanocr.errors import BackendFailed, BackendUnavailable

log = logging.getLogger(__name__)

_ATTEMPTS = 2
_UNLIKELY = "q7ZxJ0wV"  # improbable for the model, but certain if a schema allows nothing else
_CERTAIN_LOGPROB = -0.01


class Server(Protocol):
    """A vLLM server: a child process, or one that runs elsewhere."""

    client: httpx.AsyncClient

    async def start(self) -> None:
        """Wait for the first answer. Raises a HunyuanOcrError with the reason if there is none."""

    async def wait_ready(self) -> None:
        """Wait until the server answers again. Raises BackendUnavailable if that takes too long."""

    async def report_failure(self) -> None:
        """Check the server immediately, after a failed request."""

    async def health(self) -> Health:
        """Return the state. Cheap; called by probes."""

    async def close(self) -> None:
        """Stop or disconnect. May be called twice."""


class VllmGenerator:
    """HunyuanOCR on vLLM. `start` starts the server, or connects to the one at `settings.vllm.url`."""

    name = BackendName.VLLM

    def __init__(self, settings: Settings, folder: Path | None = None) -> None:
        """`folder` has the weights, if this process starts the server. Raises ConfigError, MissingDependency."""
        self.model = folder.resolve().name if folder else "hunyuanocr"
        self._max_length = 0
        self._raw_probabilities = False  # whether probabilities are those of the model, not renormalised by the grammar
        self.server: Server
        if settings.vllm.url is not None:
            self.server = RemoteServer(settings.vllm.url, self._probe)
        elif folder is not None:
            self.server = VllmProcess(settings, folder, self.model, self._probe)
        else:
            raise ValueError("requires an address or a folder of weights")

    async def start(self) -> None:
        """Wait for the first answer. Raises ConfigError or BackendUnavailable."""
        await self.server.start()

    async def generate(self, request: Generation) -> AsyncGenerator[TokenChunk, None]:
        """See Generator. Raises ImageTooLargeForMemory, InvalidSchema, UnreadableImage, BackendFailed, BackendUnavailable.

        If the server fails before the first token, the request is sent once more to the restarted server.
        """
        if not self._max_length:
            raise BackendUnavailable("vLLM is not started.")
        body = await asyncio.to_thread(build_request, request, self.model, self._max_length)
        for attempt in range(1, _ATTEMPTS + 1):
            started = False
            await self.server.wait_ready()
            try:
                raw_probabilities = request.schema is None or self._raw_probabilities
                async with aclosing(_stream(self.server.client, body, raw_probabilities=raw_probabilities)) as stream:
                    async for chunk in stream:
                        started = True
                        yield chunk
                return
            except BackendUnavailable:
                await self.server.report_failure()
                if started or attempt == _ATTEMPTS:
                    raise

    async def _probe(self, client: httpx.AsyncClient) -> None:
        """Read the model's name and generate a short answer. Raises a HunyuanOcrError."""
        try:
            model = (await client.get("/v1/models", timeout=30.0)).raise_for_status().json()["data"][0]
            self.model, self._max_length = str(model["id"]), int(model["max_model_len"])
        except httpx.TransportError as e:
            raise BackendUnavailable(f"The connection to vLLM failed ({type(e).__name__}).") from e
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as e:
            raise BackendFailed(f"The response to /v1/models is not one of vLLM ({type(e).__name__}).") from e
        page = np.full((64, 64, 3), 255, np.uint8)
        schema = {"type": "object", "properties": {"a": {"enum": [_UNLIKELY]}}, "required": ["a"]}
        request = Generation((page,), "提取图中的文字。", schema, max_tokens=32)  # the first grammar takes seconds to compile
        body = await asyncio.to_thread(build_request, request, self.model, self._max_length)
        async with aclosing(_stream(client, body)) as stream:
            tokens = [token async for chunk in stream for token in chunk.tokens]
        uncertain = sum(token.logprob < _CERTAIN_LOGPROB for token in tokens)
        self._raw_probabilities = uncertain > 1  # one token may precede those of a draft model
        if not self._raw_probabilities:
            log.warning(
                "This vLLM server reports probabilities among the tokens that a schema allows, not those of the model: "
                "extracted values have no confidence. Install scripts/vllm_plugin on the server."
            )

    async def health(self) -> Health:
        """Return ready while the server answers."""
        return await self.server.health()

    async def close(self) -> None:
        """Stop the server if this process started it."""
        await self.server.close()


async def _stream(client: httpx.AsyncClient, body: bytes, *, raw_probabilities: bool = True) -> AsyncGenerator[TokenChunk, None]:
    """Yield the chunks of one request. Closing the generator closes the connection, which cancels the request."""
    headers = {"content-type": "application/json"}
    try:
        async with (
            client.stream("POST", "/v1/chat/completions", content=body, headers=headers) as response,
            aclosing(parse_stream(response, raw_probabilities=raw_probabilities)) as chunks,
        ):
            async for chunk in chunks:
                yield chunk
    except httpx.TransportError as e:
        raise BackendUnavailable(f"The connection to vLLM was lost ({type(e).__name__}).") from e
