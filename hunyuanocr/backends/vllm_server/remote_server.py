"""vLLM that somebody else runs, at an address."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import httpx

from hunyuanocr.backends.base import Health
from hunyuanocr.backends.vllm_server.process import Probe
from hunyuanocr.errors import BackendUnavailable, ConfigError, HunyuanOcrError

log = logging.getLogger(__name__)

_MAX_START_S = 300.0
_POLL_INTERVAL_S = 5.0  # between two looks at it
_TIMEOUT_S = 30.0  # that a request waits for it


class RemoteServer:
    """The server at an address, looked at every few seconds. `ready` is set while it answers."""

    def __init__(self, url: str, probe: Probe) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        self._probe = probe
        self._polling: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self.ready = False
        limits = httpx.Limits(max_connections=None)
        # The address is meant as it stands: no proxy of the environment gets the pictures to see.
        self.client = httpx.AsyncClient(
            base_url=self._url, trust_env=False, limits=limits, timeout=httpx.Timeout(None, connect=5.0)
        )

    async def start(self) -> None:
        """Ask for one real answer; both machines may have been switched on just now. Raises ConfigError where none comes."""
        try:
            async with asyncio.timeout(_MAX_START_S):
                while not await self._answers():  # noqa: ASYNC110 -- nothing but the server can tell
                    await asyncio.sleep(_POLL_INTERVAL_S)
        except (TimeoutError, HunyuanOcrError) as e:
            said = e.message if isinstance(e, HunyuanOcrError) else f"nothing for {_MAX_START_S:g} s."
            hint = "Check --vllm-url, and that it runs."
            raise ConfigError(f"vLLM at {self._url} does not answer: {said}", hint=hint) from e
        self.ready = True
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())

    async def _answers(self) -> bool:
        """Whether it gives a real answer. Raises the HunyuanOcrError of one that answers wrongly."""
        try:
            await self._probe(self.client)
        except BackendUnavailable as e:
            log.warning("vLLM at %s does not answer yet: %s", self._url, e.message)
            return False
        return True

    async def wait_ready(self) -> None:
        """Wait until it answers, for half a minute at most. Raises ReaderUnavailable."""
        if self.ready:
            return
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._changed:
                await self._changed.wait_for(lambda: self.ready)
        except TimeoutError as e:
            raise BackendUnavailable(f"vLLM at {self._url} does not answer.") from e

    async def report_failure(self) -> None:
        """Look at once."""
        await self._poll_once()

    async def health(self) -> Health:
        """As of the last look."""
        return Health(self.ready, "ready" if self.ready else f"vLLM at {self._url} does not answer.")

    async def close(self) -> None:
        """Stop looking; the server runs on."""
        looking, self._polling = self._polling, None
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        self.ready = False
        await self.client.aclose()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_INTERVAL_S)
            await self._poll_once()

    async def _poll_once(self) -> None:
        up = False
        with contextlib.suppress(httpx.TransportError, HunyuanOcrError):
            alive = (await self.client.get("/health", timeout=_POLL_INTERVAL_S)).is_success
            if alive and not self.ready:  # another one may have taken its place
                await self._probe(self.client)
            up = alive
        async with self._changed:
            self.ready = up
            self._changed.notify_all()
