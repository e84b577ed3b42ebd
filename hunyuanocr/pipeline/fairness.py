"""Fair queueing: whose turn it is, and who gives way when the queue is full.

A client is named by its fairness key (`pipeline.requests.Request.fair_key`): its owner, or its address where all are one owner.
Round robin over the keys (J. Nagle, RFC 970, 1985): of those that wait, the key with the fewest in service is next; among equals,
the one that was served longest ago.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_PASSED = 8  # requests that may pass one of the background before it is next


class RoundRobin:
    """Chooses among keys. `running` is how many of each are in service; what is neither waiting nor running is forgotten."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self._served: dict[str, int] = {}
        self._turn = 0

    def choose(self, waiting: Iterable[str]) -> str:
        """The key whose turn it is, of at least one."""
        keys = list(waiting)
        self._served = {key: self._served[key] for key in {*keys, *self.running} if key in self._served}
        return min(keys, key=lambda key: (self.running[key], self._served.get(key, 0)))

    def start(self, key: str) -> None:
        """One more of this key is in service."""
        self._turn += 1
        self._served[key] = self._turn
        self.running[key] += 1

    def end(self, key: str) -> None:
        """One fewer."""
        self.running[key] -= 1
        if not self.running[key]:
            del self.running[key]


@dataclass(eq=False)
class Waiter:
    """A request in the queue. `turn` is done when it is served, or raises why it is not; `passed` counts those that are served
    while it waits, where it is one of the background.
    """

    key: str
    background: bool = False
    passed: int = 0
    served: bool = False
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class FairQueue:
    """Waiting requests, the oldest of each key first. Those of the background (jobs) come after the others, yet not last for
    long: when `MAX_PASSED` have passed one, it is next. They are few (`services.background`) and count for no capacity.
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
        """Whether a newcomer of this key has to be refused: there is no capacity left, and nobody has two more than it has."""
        return self._foreground() >= self._capacity and self._greediest(key, running) is None

    def _greediest(self, key: str, running: Counter[str]) -> str | None:
        """Who has to give way to a newcomer of this key: who holds most, if that is still more than the newcomer will hold."""
        held = {other: len(waiters) + running[other] for other, waiters in self._waiting.items()}
        most = max(held, key=lambda other: held[other], default=None)
        own = len(self._waiting.get(key, ())) + running[key]
        return most if most is not None and held[most] > own + 1 else None

    def join(self, waiter: Waiter, running: Counter[str]) -> Waiter | None:
        """Wait. The request that gives way to it, the newest of the key that holds most, or None; not to be called when full."""
        if waiter.background:
            self._background.append(waiter)
            return None
        displaced = None
        if self._foreground() >= self._capacity and (greediest := self._greediest(waiter.key, running)) is not None:
            displaced = self._waiting[greediest][-1]
            self.leave(displaced)
        self._waiting.setdefault(waiter.key, deque()).append(waiter)
        return displaced

    def leave(self, waiter: Waiter) -> None:
        """Wait no more. May be called for one that has left."""
        lane = self._background if waiter.background else self._waiting.get(waiter.key)
        if lane is None or waiter not in lane:
            return
        lane.remove(waiter)
        if not lane and not waiter.background:
            del self._waiting[waiter.key]

    def pop(self, turns: RoundRobin) -> Waiter:
        """The next one, of at least one."""
        if self._background and (not self._waiting or self._background[0].passed >= MAX_PASSED):
            return self._background.popleft()
        for waiter in self._background:
            waiter.passed += 1
        waiter = self._waiting[turns.choose(self._waiting)][0]
        self.leave(waiter)
        return waiter

    def before(self, key: str) -> int:
        """How many are served before a newcomer of this key, as round robin has it."""
        own = len(self._waiting.get(key, ()))
        return sum(min(len(waiters), own + (other != key)) for other, waiters in self._waiting.items())

    def clear(self) -> list[Waiter]:
        """All that waited; nobody waits any more."""
        everyone = [*self._background, *(waiter for waiters in self._waiting.values() for waiter in waiters)]
        self._background.clear()
        self._waiting.clear()
        return everyone
