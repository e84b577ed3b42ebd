"""What all ports of the process count together: requests, connections, bytes."""

from __future__ import annotations

import time
from collections import Counter
from typing import Protocol

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from api.limits import max_request_bytes
from api.network.descriptors import RESERVE, connection_limit
from api.network.ip import NetworkSet
from api.request_body import MAX_FIELDS_BYTES
from hunyuanocr.config import Settings
from hunyuanocr.config.network import NetworkSettings
from hunyuanocr.errors import TooManyAuthFailures, TooManyRequests


class NetworkLimits:
    """The settings, and the counts that belong to them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.network
        self.trusted = NetworkSet(self.settings.trusted_proxies)
        self.rates = RateLimiter(self.settings)
        self.connections = ConnectionLimiter(self.settings)
        self.max_request_bytes = settings.images.max_bytes * 4 // 3 + MAX_FIELDS_BYTES
        self.max_batch_bytes = max_request_bytes(settings)
        largest = max(self.max_request_bytes, self.max_batch_bytes)
        self.budget = ByteBudget(max(int(self.settings.upload_memory_mb * 1e6), 2 * largest))


class RateLimiter:
    """Requests a minute, in a sliding window: of an address, of a key, and of those that were refused for their key."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._address = _per_minute(settings.requests_per_minute_per_ip)
        self._key = _per_minute(settings.requests_per_minute_per_key)
        self._failures = _per_minute(settings.auth_failures_per_minute)

    async def check_ip(self, who: str) -> None:
        """Count a request of an address. Raises TooManyRequests, and TooManyFailures while too many of them failed."""
        if self._failures and not await self._limiter.test(self._failures, "failure", who):
            raise TooManyAuthFailures(
                "Too many requests came with a wrong key.", retry_after=await self._wait(self._failures, "failure", who)
            )
        if self._address and not await self._limiter.hit(self._address, "address", who):
            raise TooManyRequests(
                "This address sends too many requests.", retry_after=await self._wait(self._address, "address", who)
            )

    async def check_key(self, who: str) -> None:
        """Count a request under a key. Raises TooManyRequests."""
        if self._key and not await self._limiter.hit(self._key, "key", who):
            raise TooManyRequests("This key sends too many requests.", retry_after=await self._wait(self._key, "key", who))

    async def count_auth_failure(self, who: str) -> None:
        """Count a refused key."""
        if self._failures:
            await self._limiter.hit(self._failures, "failure", who)

    async def _wait(self, item: RateLimitItemPerMinute, *who: str) -> float:
        stats = await self._limiter.get_window_stats(item, *who)
        return min(max(1.0, stats.reset_time - time.time()), 60.0)


def _per_minute(times: int) -> RateLimitItemPerMinute | None:
    return RateLimitItemPerMinute(times) if times else None


class ByteBudget:
    """Bytes that may be held at a time: `capacity` of them together, half of it by one. No waiting: who waits holds bytes too."""

    def __init__(self, all: int) -> None:
        self.capacity = all
        self.held = 0
        self._by: Counter[str] = Counter()

    def acquire(self, who: str, count: int) -> bool:
        """Hold `count` more; False, and nothing is held, where there is no room."""
        if self.held + count > self.capacity or self._by[who] + count > self.capacity // 2:
            if not self._by[who]:
                del self._by[who]
            return False
        self.held += count
        self._by[who] += count
        return True

    def release(self, who: str, count: int) -> None:
        """Hold them no more."""
        self.held -= count
        self._by[who] -= count
        if not self._by[who]:
            del self._by[who]


class Reserved(Protocol):
    """A connection in the reserve."""

    def give_way(self) -> bool:
        """End, where it has not asked for anything yet; False where it is being served."""


class ConnectionLimiter:
    """Open connections, in all and of each address; and a reserve beyond them for probes, in which the newest one displaces the
    oldest one that has asked for nothing yet: whoever opens connections and is silent keeps no probe out.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        self._most = connection_limit(settings.connections)
        self._most_each = settings.connections_per_address
        self._regular = 0
        self._by: Counter[str] = Counter()
        self._reserved: dict[Reserved, None] = {}

    @property
    def open(self) -> int:
        """How many there are, with those of the reserve."""
        return self._regular + len(self._reserved)

    @property
    def full(self) -> bool:
        """Whether only the reserve is left."""
        return self._regular >= self._most

    def acquire(self, who: str, *, counted: bool) -> bool:
        """Count a connection; False, and it is not counted, where there is no room. `counted`: `who` has a limit of his own."""
        if self.full or (counted and self._by[who] >= self._most_each):
            return False
        self._regular += 1
        self._by[who] += 1
        return True

    def release(self, who: str) -> None:
        """It is closed."""
        self._regular -= 1
        self._by[who] -= 1
        if not self._by[who]:
            del self._by[who]

    def reserve(self, connection: Reserved) -> bool:
        """A place in the reserve; False where all of it is being served."""
        if len(self._reserved) >= RESERVE:
            oldest = next((other for other in self._reserved if other.give_way()), None)
            if oldest is None:
                return False
            self.leave_reserve(oldest)
        self._reserved[connection] = None
        return True

    def leave_reserve(self, connection: Reserved) -> None:
        """It is closed; may be called twice."""
        self._reserved.pop(connection, None)
