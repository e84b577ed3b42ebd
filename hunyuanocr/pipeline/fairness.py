"""Fair queueing: which client is served next, and whose request is dropped when the queue is full.

A client is identified by its fairness key (`pipeline.request.Request.fair_key`): its owner, or its address if all clients share
one owner. Round robin over the keys (J. Nagle, RFC 970, 1985): of the waiting keys, the one with the fewest running requests is
next; among equals, the one that was served longest ago.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_PASSED = 8  # requests that may overtake a background request before it is next


class RoundRobin:
    """Chooses among keys. `running` counts the running requests of each key; keys without requests are dropped."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self.served: dict[str, int] = {}
        self._turn = 0

    def choose(self, waiting: Iterable[str]) -> str:
        """Return the key that is next, of at least one."""
        keys = list(waiting)
        self.served = {key: self.served[key] for key in {*keys, *self.running} if key in self.served}
        return min(keys, key=lambda key: (self.running[key], self.served.get(key, 0)))

    def start(self, key: str) -> None:
        """Count a request of this key as running."""
        self._turn += 1
        self.served[key] = self._turn
        self.running[key] += 1

    def end(self, key: str) -> None:
        """Count a request of this key as finished."""
        self.running[key] -= 1
        if not self.running[key]:
            del self.running[key]


@dataclass(eq=False)
class Waiter:
    """A request in the queue. `turn` completes when the request is served, or raises the reason why it is refused.

    `passed` counts the requests that overtook a background request.
    """

    key: str
    background: bool = False
    passed: int = 0
    served: bool = False
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class FairQueue:
    """Waiting requests, the oldest of each key first. Background requests (jobs) come after interactive ones.

    A background request that `MAX_PASSED` others have overtaken is next. Background requests are few
    (`services.background_reader`) and do not count towards the capacity.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: dict[str, deque[Waiter]] = {}
        self._background: deque[Waiter] = deque()

    def __len__(self) -> int:
        return self._foreground() + len(self._background)

    def _foreground(self) -> int:
        return sum(map(len, self._waiting.values()))

    def full_for(self, key: str, running: Counter[str]) -> bool:
        """Return whether a new request of this key must be refused: the queue is full, and no key has two requests more."""
        return self._foreground() >= self._capacity and self._largest_key(key, running) is None

    def _largest_key(self, key: str, running: Counter[str]) -> str | None:
        """Return the key that loses a request to this key: the one with most, if it then still has as many as this key."""
        counts = {other: len(waiters) + running[other] for other, waiters in self._waiting.items()}
        largest = max(counts, key=lambda other: counts[other], default=None)
        own = len(self._waiting.get(key, ())) + running[key]
        return largest if largest is not None and counts[largest] > own + 1 else None

    def join(self, waiter: Waiter, running: Counter[str]) -> Waiter | None:
        """Add a waiter; return the request that it replaces, if any. Not to be called if `full_for` its key."""
        if waiter.background:
            self._background.append(waiter)
            return None
        displaced = None
        if self._foreground() >= self._capacity and (largest := self._largest_key(waiter.key, running)) is not None:
            displaced = self._waiting[largest][-1]
            self.leave(displaced)
        self._waiting.setdefault(waiter.key, deque()).append(waiter)
        return displaced

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiter. Has no effect on one that was removed."""
        queue = self._background if waiter.background else self._waiting.get(waiter.key)
        if queue is None or waiter not in queue:
            return
        queue.remove(waiter)
        if not queue and not waiter.background:
            del self._waiting[waiter.key]

    def pop(self, turns: RoundRobin) -> Waiter:
        """Remove and return the next waiter, of at least one."""
        if self._background and (not self._waiting or self._background[0].passed >= MAX_PASSED):
            return self._background.popleft()
        for waiter in self._background:
            waiter.passed += 1
        waiter = self._waiting[turns.choose(self._waiting)][0]
        self.leave(waiter)
        return waiter

    def before(self, key: str) -> int:
        """Return how many waiting requests are served before a new request of this key."""
        own = len(self._waiting.get(key, ()))
        return sum(min(len(waiters), own + (other != key)) for other, waiters in self._waiting.items())

    def clear(self) -> list[Waiter]:
        """Remove and return all waiters."""
        removed = [*self._background, *(waiter for waiters in self._waiting.values() for waiter in waiters)]
        self._background.clear()
        self._waiting.clear()
        return removed
