"""Limits of open pages: number of pages, unfetched results, lifetime."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from hunyuanocr.errors import DeadlineExceeded, QueueFull
from web.gradio_memory import GradioMemory

_RETRY_AFTER_S = 5.0


@dataclass(frozen=True)
class PageLimits:
    """Limits for all pages. One identity may have half of the pages and a quarter of the events.

    `waiting_bytes` limits the unfetched results of one identity.
    """

    pages: int = 512
    events: int = 256
    events_per_page: int = 8
    waiting_bytes: int = 16 * 2**20
    listen_s: float = 10.0  # time in which a page must listen for the result of its event
    age_s: float = 900.0  # time after which a closed page is dropped


@dataclass
class _Page:
    last_used: float
    joining: int = 0  # events that are being passed to Gradio
    reserved: int = 0  # characters reserved for results of running events
    listeners: int = 0  # open result streams
    connections: int = 0  # open streams of any kind
    listening: asyncio.Event = field(default_factory=asyncio.Event)


class OpenPages:
    """Open pages by their Gradio id, which starts with the fingerprint of the identity and a dot (`web.session_isolation`)."""

    def __init__(self, memory: GradioMemory, limits: PageLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.memory = memory
        self._clock = clock
        self.pages: dict[str, _Page] = {}  # least recently used first

    @asynccontextmanager
    async def joining(self, page: str) -> AsyncIterator[None]:
        """Keep the page while an event is passed to Gradio. Raise QueueFull if too many results are unfetched."""
        await self.expire()
        self._check_capacity(page)
        opened = self._touch(page)
        opened.joining += 1
        try:
            await self._evict(page)
            yield
        finally:
            opened.joining -= 1

    def _check_capacity(self, page: str) -> None:
        """Raise QueueFull if the page or its identity has too many events or unfetched results."""
        running = self.memory.running()
        self._release(running)
        events = running + self.memory.finished()
        events.update({each: opened.joining for each, opened in self.pages.items()})
        mine = self._of_identity(page)
        if (
            events[page] >= self.limits.events_per_page
            or sum(events[each] for each in mine) >= self.limits.events // 4
            or events.total() >= self.limits.events
            or self._waiting_bytes(mine) >= self.limits.waiting_bytes
        ):
            raise QueueFull(
                "Too many results are waiting to be fetched.", retry_after=_RETRY_AFTER_S, hint="Close other open pages."
            )

    @contextmanager
    def connected(self, page: str, *, listens: bool) -> Iterator[None]:
        """Keep the page while a stream of it is open. `listens`: the stream receives results."""
        opened = self._touch(page)
        opened.connections += 1
        if listens:
            self.memory.prune(page)
            opened.listeners += 1
            opened.listening.set()
        try:
            yield
        finally:
            opened.connections -= 1
            opened.last_used = self._clock()
            if listens:
                opened.listeners -= 1
                if not opened.listeners:
                    opened.listening.clear()

    async def wait_for_listener(self, page: str | None) -> None:
        """Wait until the page listens for results. Raise DeadlineExceeded after `listen_s`."""
        opened = self.pages.get(page or "")
        try:
            async with asyncio.timeout(self.limits.listen_s):
                if opened is None:
                    raise TimeoutError
                await opened.listening.wait()
        except TimeoutError:
            raise DeadlineExceeded("The page does not listen for the result.") from None

    def reserve(self, page: str | None, size: int) -> bool:
        """Reserve `size` characters for the result of a running event. Return whether the identity has enough budget."""
        opened = self.pages.get(page or "")
        if page is None or opened is None or self._waiting_bytes(self._of_identity(page)) + size > self.limits.waiting_bytes:
            return False
        opened.reserved += size
        return True

    def _waiting_bytes(self, pages: list[str]) -> int:
        return sum(self.memory.waiting_bytes(page) + self.pages[page].reserved for page in pages)

    def _release(self, running: Counter[str]) -> None:
        """Clear reservations of pages without running events: their results are now counted as unfetched, or were fetched."""
        for page, opened in self.pages.items():
            if not running[page] and not opened.joining:
                opened.reserved = 0

    async def expire(self) -> None:
        """Drop results that were not fetched in time, and pages that were closed long ago."""
        for page in self.memory.pages() - self.pages.keys():
            if page not in self.pages:
                await self.memory.forget(page)
        running = self.memory.running()
        for page, opened in list(self.pages.items()):
            if opened.joining or (running[page] and opened.listeners):
                opened.last_used = self._clock()
            idle = self._clock() - opened.last_used
            if idle > self.limits.age_s and not opened.connections:
                await self._forget(page)
            elif idle > (self.limits.age_s if opened.listeners else self.limits.listen_s):
                await self.memory.forget_messages(page)

    def _of_identity(self, page: str) -> list[str]:
        return [each for each in self.pages if _identity(each) == _identity(page)]

    def _touch(self, page: str) -> _Page:
        opened = self.pages.pop(page, None) or _Page(self._clock())
        opened.last_used = self._clock()
        self.pages[page] = opened
        return opened

    async def _evict(self, newest: str) -> None:
        """Drop pages of the identity with most pages until the limits hold; closed pages first, then the least recently used."""
        while True:
            counts = Counter(map(_identity, self.pages))
            identity, count = counts.most_common(1)[0]
            if len(self.pages) <= self.limits.pages and count <= self.limits.pages // 2:
                return
            older = [page for page in self.pages if _identity(page) == identity and page != newest]
            await self._forget(min(older, key=lambda page: bool(self.pages[page].connections)))

    async def _forget(self, page: str) -> None:
        self.pages.pop(page, None)
        await self.memory.forget(page)


def _identity(page: str) -> str:
    return page.partition(".")[0]
