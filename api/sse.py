"""Server-sent events over a pipeline's parts: told as they come, kept alive while nothing comes, ended when the client goes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi.sse import KEEPALIVE_COMMENT as KEPT_ALIVE
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.errors import to_client_error

T = TypeVar("T")
log = logging.getLogger(__name__)

FIRST_EVENT_TIMEOUT_S = 1.0  # how long the status line waits, so that an early refusal is an honest 429 or 503
KEEP_ALIVE_S = 15.0  # proxies cut connections on which nothing moves, most of them after 30 or 60 seconds
__all__ = ["KEPT_ALIVE", "EventStream", "format_event", "start_stream", "to_client_error", "with_keepalive"]

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # nginx would hold events back


def format_event(data: Any, name: str | None = None) -> bytes:
    """One event on the wire; `data` is JSON already when it is a string."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return format_sse_event(data_str=text, event=name)


async def with_keepalive(
    parts: AsyncGenerator[T, None], first_s: float = FIRST_EVENT_TIMEOUT_S
) -> AsyncGenerator[T | None, None]:
    """The parts, and None whenever nothing came for `KEEP_ALIVE_S` seconds (for `first_s` before the first of all)."""
    wait_s = first_s
    async with aclosing(parts):
        while True:
            coming = asyncio.ensure_future(anext(parts, None))
            try:
                while not (await asyncio.wait((coming,), timeout=wait_s))[0]:
                    wait_s = KEEP_ALIVE_S
                    yield None
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
            part = coming.result()
            if part is None:
                return
            wait_s = KEEP_ALIVE_S
            yield part


class EventStream(StreamingResponse):
    """Answers with `events`; however the answer ends, they are closed, which cancels the work behind them."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(events, headers=_HEADERS)
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the events end or the client goes away."""
        async with aclosing(self._events):
            await super().__call__(scope, receive, send)


async def start_stream(events: AsyncGenerator[bytes, None]) -> EventStream:
    """The answer, once the first event is there: an error before it is raised here, while there is a status to give."""
    try:
        first = await anext(events)
    except BaseException:
        await events.aclose()
        raise
    return EventStream(_after(first, events))


async def _after(first: bytes, events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        yield first
        async for each in events:
            yield each
