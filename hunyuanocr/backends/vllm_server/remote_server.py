"""A vLLM server that runs elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import httpx

from hunyuanocr.backends.base import Health
from hunyuanocr.backends.vllm_server.process import Probe
from hunyuanocr.errors import BackendUnavailable, ConfigError, HunyuanOcrError

log = logging.getLogger(__name__)


class RemoteServer:
    """The server at an address, polled every few seconds. `ready` is True while it answers."""

    start_timeout_s = 300.0
    poll_interval_s = 5.0
    ready_timeout_s = 30.0  # for which a request waits

    def __init__(self, url: str, probe: Probe) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        self._probe = probe
        self._polling: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self.ready = False
        limits = httpx.Limits(max_connections=None)
        # Without proxies of the environment, which would receive the images.
        self.client = httpx.AsyncClient(
            base_url=self._url, trust_env=False, limits=limits, timeout=httpx.Timeout(None, connect=5.0)
        )

    async def start(self) -> None:
        """Wait for the first answer: the server may be starting as well. Raises ConfigError if there is none."""
        try:
            async with asyncio.timeout(self.start_timeout_s):
                while not await self._answers():  # noqa: ASYNC110 -- the server has no event to wait for
                    await asyncio.sleep(self.poll_interval_s)
        except (TimeoutError, HunyuanOcrError) as e:
            reason = e.message if isinstance(e, HunyuanOcrError) else f"no response within {self.start_timeout_s:g} s."
            hint = "Check --vllm-url and that the server is running."
            raise ConfigError(f"vLLM at {self._url} does not respond: {reason}", hint=hint) from e
        self.ready = True
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())

    async def _answers(self) -> bool:
        """Return whether the server answers. Raises a HunyuanOcrError for a wrong answer."""
        try:
            await self._probe(self.client)
        except BackendUnavailable as e:
            log.warning("vLLM at %s does not respond yet: %s", self._url, e.message)
            return False
        return True

    async def wait_ready(self) -> None:
        """Wait until the server answers, for at most 30 s. Raises BackendUnavailable."""
        if self.ready:
            return
        try:
            async with asyncio.timeout(self.ready_timeout_s), self._changed:
                await self._changed.wait_for(lambda: self.ready)
        except TimeoutError as e:
            raise BackendUnavailable(f"vLLM at {self._url} does not respond.") from e

    async def report_failure(self) -> None:
        """Poll the server immediately."""
        await self._poll_once()

    async def health(self) -> Health:
        """Return the state of the last poll."""
        return Health(self.ready, "ready" if self.ready else f"vLLM at {self._url} does not respond.")

    async def close(self) -> None:
        """Stop polling; the server keeps running."""
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
        self.ready = False
        await self.client.aclose()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self.poll_interval_s)
            await self._poll_once()

    async def _poll_once(self) -> None:
        ready = False
        with contextlib.suppress(httpx.TransportError, HunyuanOcrError):
            healthy = (await self.client.get("/health", timeout=self.poll_interval_s)).is_success
            if healthy and not self.ready:  # the server may have been replaced
                await self._probe(self.client)
            ready = healthy
        async with self._changed:
            self.ready = ready
            self._changed.notify_all()
