"""Limits that all ports of the process share: requests, connections, upload bytes."""

from __future__ import annotations

import time
from collections import Counter
from typing import Protocol

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from api.limits import MAX_FIELDS_BYTES, max_request_bytes
from api.network.descriptors import RESERVE, connection_limit
from api.network.ip import NetworkSet
from hunyuanocr.config import Settings
from hunyuanocr.config.network import NetworkSettings
from hunyuanocr.errors import TooManyAuthFailures, TooManyRequests


class NetworkLimits:
    """Network settings and their counters."""

    grace_period_s = 20.0  # for a request body, in addition to the time at the minimum rate
    drain_timeout_s = 10.0  # for data that a client sends after its response
    quiet_period_s = 1.0  # without received data: the WebSocket client has sent everything

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
    """Limits requests per minute (sliding window) by address and by key, and failed authentications by address."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._address = _per_minute(settings.requests_per_minute_per_ip)
        self._key = _per_minute(settings.requests_per_minute_per_key)
        self._failures = _per_minute(settings.auth_failures_per_minute)

    async def check_ip(self, client: str) -> None:
        """Count a request of an address. Raises TooManyRequests, and TooManyAuthFailures after too many failures."""
        if self._failures and not await self._limiter.test(self._failures, "failure", client):
            raise TooManyAuthFailures(
                "Too many failed authentications.", retry_after=await self._wait(self._failures, "failure", client)
            )
        if self._address and not await self._limiter.hit(self._address, "address", client):
            raise TooManyRequests(
                "Too many requests from this address.", retry_after=await self._wait(self._address, "address", client)
            )

    async def check_key(self, client: str) -> None:
        """Count a request of a key. Raises TooManyRequests."""
        if self._key and not await self._limiter.hit(self._key, "key", client):
            raise TooManyRequests("Too many requests with this key.", retry_after=await self._wait(self._key, "key", client))

    async def count_auth_failure(self, client: str) -> None:
        """Count a failed authentication."""
        if self._failures:
            await self._limiter.hit(self._failures, "failure", client)

    async def _wait(self, item: RateLimitItemPerMinute, *client: str) -> float:
        stats = await self._limiter.get_window_stats(item, *client)
        return min(max(1.0, stats.reset_time - time.time()), 60.0)


def _per_minute(limit: int) -> RateLimitItemPerMinute | None:
    return RateLimitItemPerMinute(limit) if limit else None


class ByteBudget:
    """Budget of bytes in memory: `capacity` in total, half of it per client.

    `acquire` does not wait, because a waiting request occupies memory too.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self._by_client: Counter[str] = Counter()

    def acquire(self, client: str, count: int) -> bool:
        """Reserve `count` bytes for a client. Returns False, without reserving any, if that exceeds the budget."""
        if self.held + count > self.capacity or self._by_client[client] + count > self.capacity // 2:
            if not self._by_client[client]:
                del self._by_client[client]
            return False
        self.held += count
        self._by_client[client] += count
        return True

    def release(self, client: str, count: int) -> None:
        """Release `count` bytes of a client."""
        self.held -= count
        self._by_client[client] -= count
        if not self._by_client[client]:
            del self._by_client[client]


class Reserved(Protocol):
    """A connection in the reserve."""

    def close_if_idle(self) -> bool:
        """Close the connection if it has not sent a request yet, and return whether it was closed."""


class ConnectionLimiter:
    """Limits open connections in total and per address, and manages a reserve for probes beyond the limit.

    In a full reserve, a new connection replaces the oldest one that has not sent a request yet, so that silent connections
    cannot block probes.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        self._max_connections = connection_limit(settings.connections)
        self._max_per_address = settings.connections_per_address
        self._regular = 0
        self._by_client: Counter[str] = Counter()
        self._reserved: dict[Reserved, None] = {}

    @property
    def open(self) -> int:
        """Return the number of open connections, including the reserve."""
        return self._regular + len(self._reserved)

    @property
    def full(self) -> bool:
        """Return whether the limit is reached, so that only the reserve is left."""
        return self._regular >= self._max_connections

    def acquire(self, client: str, *, counted: bool) -> bool:
        """Count a connection. Returns False, without counting it, at the limit. `counted`: the limit per address applies."""
        if self.full or (counted and self._by_client[client] >= self._max_per_address):
            return False
        self._regular += 1
        self._by_client[client] += 1
        return True

    def release(self, client: str) -> None:
        """Remove a closed connection."""
        self._regular -= 1
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def reserve(self, connection: Reserved) -> bool:
        """Add a connection to the reserve. Returns False if all connections of the reserve are in use."""
        if len(self._reserved) >= RESERVE:
            oldest = next((other for other in self._reserved if other.close_if_idle()), None)
            if oldest is None:
                return False
            self.leave_reserve(oldest)
        self._reserved[connection] = None
        return True

    def leave_reserve(self, connection: Reserved) -> None:
        """Remove a closed connection from the reserve. May be called twice."""
        self._reserved.pop(connection, None)
