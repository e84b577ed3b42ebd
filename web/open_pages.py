"""Bounds on what open pages have the server keep: how many pages, how many results that nobody fetches, and for how long."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from hunyuanocr.errors import DeadlineExceeded, QueueFull
from web.gradio_memory import GradioMemory

_RETRY_S = 5.0


@dataclass(frozen=True)
class PageLimits:
    """An identity may have half of all pages and a quarter of all events. `waiting_bytes`, of results, is for each identity."""

    pages: int = 512
    events: int = 256
    events_per_page: int = 8
    waiting_bytes: int = 16 * 2**20
    listen_s: float = 10.0  # within which a page must fetch what it asked for
    age_s: float = 900.0  # after which a page that is closed is forgotten


@dataclass
class _Page:
    used_at: float
    joining: int = 0  # events that are being handed to Gradio
    reserved: int = 0  # characters of results of events that may still run
    listeners: int = 0  # open streams of results
    connections: int = 0  # open streams of any kind
    heard: asyncio.Event = field(default_factory=asyncio.Event)


class OpenPages:
    """Pages by the id that Gradio has for them, which begins with the identity's fingerprint and a dot
    (`web.session_isolation`).
    """

    def __init__(self, memory: GradioMemory, limits: PageLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._memory = memory
        self._clock = clock
        self._pages: dict[str, _Page] = {}  # the least recently used first

    @asynccontextmanager
    async def joining(self, page: str) -> AsyncIterator[None]:
        """While an event of the page is handed to Gradio. Raises QueueFull where too many results wait to be fetched."""
        await self.expire()
        self._check_capacity(page)
        opened = self._touch(page)
        opened.joining += 1
        try:
            await self._make_room(page)
            yield
        finally:
            opened.joining -= 1

    def _check_capacity(self, page: str) -> None:
        """Raises QueueFull."""
        running = self._memory.running()
        self._release(running)
        events = running + self._memory.finished()
        events.update({each: opened.joining for each, opened in self._pages.items()})
        mine = self._of_identity(page)
        if (
            events[page] >= self.limits.events_per_page
            or sum(events[each] for each in mine) >= self.limits.events // 4
            or events.total() >= self.limits.events
            or self._waiting_bytes(mine) >= self.limits.waiting_bytes
        ):
            raise QueueFull("Too many results wait to be fetched.", retry_after=_RETRY_S, hint="Close other open pages.")

    @contextmanager
    def connected(self, page: str, *, listens: bool) -> Iterator[None]:
        """While a stream of the page is open; `listens`: the one that fetches results."""
        opened = self._touch(page)
        opened.connections += 1
        if listens:
            self._memory.prune(page)
            opened.listeners += 1
            opened.heard.set()
        try:
            yield
        finally:
            opened.connections -= 1
            opened.used_at = self._clock()
            if listens:
                opened.listeners -= 1
                if not opened.listeners:
                    opened.heard.clear()

    async def until_heard(self, page: str | None) -> None:
        """Wait until the page fetches results. Raises DeadlineExceeded: nothing is computed for nobody."""
        opened = self._pages.get(page or "")
        try:
            async with asyncio.timeout(self.limits.listen_s):
                if opened is None:
                    raise TimeoutError
                await opened.heard.wait()
        except TimeoutError:
            raise DeadlineExceeded("Nobody fetches the result.") from None

    def reserve(self, page: str | None, size: int) -> bool:
        """Whether a result of so many characters may wait until the page fetches it. Called by the event that has it."""
        opened = self._pages.get(page or "")
        if page is None or opened is None or self._waiting_bytes(self._of_identity(page)) + size > self.limits.waiting_bytes:
            return False
        opened.reserved += size
        return True

    def _waiting_bytes(self, pages: list[str]) -> int:
        return sum(self._memory.waiting_bytes(page) + self._pages[page].reserved for page in pages)

    def _release(self, running: Counter[str]) -> None:
        """Where no event runs any more, the results that were reserved for wait, and are counted as such, or were fetched."""
        for page, opened in self._pages.items():
            if not running[page] and not opened.joining:
                opened.reserved = 0

    async def expire(self) -> None:
        """Forget results that are not fetched in time, and pages that were closed long ago."""
        for page in self._memory.pages() - self._pages.keys():
            if page not in self._pages:
                await self._memory.forget(page)
        running = self._memory.running()
        for page, opened in list(self._pages.items()):
            if opened.joining or (running[page] and opened.listeners):
                opened.used_at = self._clock()
            idle = self._clock() - opened.used_at
            if idle > self.limits.age_s and not opened.connections:
                await self._forget(page)
            elif idle > (self.limits.age_s if opened.listeners else self.limits.listen_s):
                await self._memory.forget_messages(page)

    def _of_identity(self, page: str) -> list[str]:
        return [each for each in self._pages if _identity(each) == _identity(page)]

    def _touch(self, page: str) -> _Page:
        opened = self._pages.pop(page, None) or _Page(self._clock())
        opened.used_at = self._clock()
        self._pages[page] = opened
        return opened

    async def _make_room(self, newest: str) -> None:
        """Forget pages of the identity that has most, the least recently used first, closed ones before open ones."""
        while True:
            counts = Counter(map(_identity, self._pages))
            identity, most = counts.most_common(1)[0]
            if len(self._pages) <= self.limits.pages and most <= self.limits.pages // 2:
                return
            older = [page for page in self._pages if _identity(page) == identity and page != newest]
            await self._forget(min(older, key=lambda page: bool(self._pages[page].connections)))

    async def _forget(self, page: str) -> None:
        self._pages.pop(page, None)
        await self._memory.forget(page)


def _identity(page: str) -> str:
    return page.partition(".")[0]
