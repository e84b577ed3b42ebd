"""Server-sent events with keepalive comments, which end when the client disconnects."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi.sse import KEEPALIVE_COMMENT as KEEPALIVE_EVENT
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.errors import to_client_error

T = TypeVar("T")
log = logging.getLogger(__name__)

FIRST_EVENT_TIMEOUT_S = 1.0  # the status line waits for this time, so that an early error has its status, for example 429
KEEP_ALIVE_S = 15.0  # proxies close idle connections, most of them after 30 or 60 seconds
__all__ = ["KEEPALIVE_EVENT", "EventStream", "format_event", "start_stream", "to_client_error", "with_keepalive"]

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # nginx must not buffer events


def format_event(data: Any, name: str | None = None) -> bytes:
    """Return one encoded event. `data` is converted to JSON, unless it is a string."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return format_sse_event(data_str=text, event=name)


async def with_keepalive(
    parts: AsyncGenerator[T, None], first_s: float = FIRST_EVENT_TIMEOUT_S
) -> AsyncGenerator[T | None, None]:
    """Yield the parts, and None after each `KEEP_ALIVE_S` seconds without one (`first_s` seconds before the first part)."""
    wait_s = first_s
    async with aclosing(parts):
        while True:
            next_part = asyncio.ensure_future(anext(parts, None))
            try:
                while not (await asyncio.wait((next_part,), timeout=wait_s))[0]:
                    wait_s = KEEP_ALIVE_S
                    yield None
            finally:
                next_part.cancel()
                await asyncio.gather(next_part, return_exceptions=True)
            part = next_part.result()
            if part is None:
                return
            wait_s = KEEP_ALIVE_S
            yield part


class EventStream(StreamingResponse):
    """Response that sends `events` and then closes the generator, which cancels its work, however the response ends."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(events, headers=_HEADERS)
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the events end or the client disconnects."""
        async with aclosing(self._events):
            await super().__call__(scope, receive, send)


async def start_stream(events: AsyncGenerator[bytes, None]) -> EventStream:
    """Wait for the first event and return the response. Raises an error that occurs before it, so that it gets its status."""
    try:
        first = await anext(events)
    except BaseException:
        await events.aclose()
        raise
    return EventStream(_prepend(first, events))


async def _prepend(first: bytes, events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        yield first
        async for each in events:
            yield each
