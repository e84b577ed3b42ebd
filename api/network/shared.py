"""What all ports of the process count together: requests, connections, bytes."""

from __future__ import annotations

import time
from collections import Counter

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from api.network.addresses import Networks
from api.reading import BESIDE
from api.routes.batch import most_bytes
from hunyuanocr.config import Settings
from hunyuanocr.errors import TooManyFailures, TooManyRequests
from hunyuanocr.groups import NetworkSettings

_RESERVE = 32  # connections beyond the limit that may ask for /health and /ready


class Network:
    """The settings, and the counts that belong to them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.network
        self.trusted = Networks(self.settings.trusted_proxies)
        self.rates = Rates(self.settings)
        self.connections = Connections(self.settings)
        self.largest = settings.images.max_bytes * 4 // 3 + BESIDE
        self.largest_batch = most_bytes(settings)
        largest = max(self.largest, self.largest_batch)
        self.budget = Budget(max(int(self.settings.uploads_mb * 1e6), 2 * largest))


class Rates:
    """Requests a minute, in a sliding window: of an address, of a key, and of those that were refused for their key."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._address = _a_minute(settings.per_address)
        self._key = _a_minute(settings.per_key)
        self._failures = _a_minute(settings.failures)

    async def address(self, who: str) -> None:
        """Count a request of an address. Raises TooManyRequests, and TooManyFailures while too many of them failed."""
        if self._failures and not await self._limiter.test(self._failures, "failure", who):
            raise TooManyFailures(
                "Too many requests came with a wrong key.", retry_after=await self._wait(self._failures, "failure", who)
            )
        if self._address and not await self._limiter.hit(self._address, "address", who):
            raise TooManyRequests(
                "This address sends too many requests.", retry_after=await self._wait(self._address, "address", who)
            )

    async def key(self, who: str) -> None:
        """Count a request under a key. Raises TooManyRequests."""
        if self._key and not await self._limiter.hit(self._key, "key", who):
            raise TooManyRequests("This key sends too many requests.", retry_after=await self._wait(self._key, "key", who))

    async def failed(self, who: str) -> None:
        """Count a refused key."""
        if self._failures:
            await self._limiter.hit(self._failures, "failure", who)

    async def _wait(self, item: RateLimitItemPerMinute, *who: str) -> float:
        stats = await self._limiter.get_window_stats(item, *who)
        return min(max(1.0, stats.reset_time - time.time()), 60.0)


def _a_minute(times: int) -> RateLimitItemPerMinute | None:
    return RateLimitItemPerMinute(times) if times else None


class Budget:
    """Bytes that may be held at a time: `all` of them together, half of it by one. No waiting: who waits holds bytes too."""

    def __init__(self, all: int) -> None:
        self.all = all
        self.held = 0
        self._by: Counter[str] = Counter()

    def take(self, who: str, count: int) -> bool:
        """Hold `count` more; False, and nothing is held, where there is no room."""
        if self.held + count > self.all or self._by[who] + count > self.all // 2:
            if not self._by[who]:
                del self._by[who]
            return False
        self.held += count
        self._by[who] += count
        return True

    def give(self, who: str, count: int) -> None:
        """Hold them no more."""
        self.held -= count
        self._by[who] -= count
        if not self._by[who]:
            del self._by[who]


class Connections:
    """Open connections, in all and of each address."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._most = settings.connections
        self._most_each = settings.connections_per_address
        self.open = 0
        self._by: Counter[str] = Counter()

    def enter(self, who: str, *, counted: bool) -> bool:
        """Count a connection; False, and it is not counted, where there is no room. `counted`: `who` has a limit of his own."""
        if self.open >= self._most + _RESERVE or (counted and self._by[who] >= self._most_each):
            return False
        self.open += 1
        self._by[who] += 1
        return True

    @property
    def full(self) -> bool:
        """Whether only the reserve is left."""
        return self.open > self._most

    def leave(self, who: str) -> None:
        """It is closed."""
        self.open -= 1
        self._by[who] -= 1
        if not self._by[who]:
            del self._by[who]
