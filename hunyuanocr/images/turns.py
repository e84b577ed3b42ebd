"""Who may have a document drawn now: few at a time, fair between clients."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future


class FairTurns:
    """At most `capacity` turns at a time, of one client at most `capacity` - 1, so that one cannot hold all of them.

    Of those that wait the client with the fewest turns comes first, then who came first. At most `max_waiting` wait, of one
    client at most half of that. Safe to use from several threads and from an event loop (`asyncio.wrap_future`).
    """

    def __init__(self, capacity: int, max_waiting: int) -> None:
        self.capacity = capacity
        self.max_waiting = max_waiting
        self._per_client = max(1, capacity - 1)
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._waiting: list[tuple[str, Future[None]]] = []

    @property
    def running(self) -> int:
        """Turns that are held."""
        with self._lock:
            return self._running.total()

    @property
    def waiting(self) -> int:
        """Clients' requests for a turn that are not granted yet."""
        with self._lock:
            return sum(not future.cancelled() for _, future in self._waiting)

    def enter(self, client: str) -> Future[None] | None:
        """Ask for a turn: the future is done when it is granted, and `leave` must be called then. None where too many wait.

        To stop waiting, cancel the future; where that returns False the turn is granted already: call `leave`.
        """
        future: Future[None] = Future()
        with self._lock:
            self._waiting = [(name, other) for name, other in self._waiting if not other.cancelled()]
            own = sum(name == client for name, _ in self._waiting)
            if len(self._waiting) >= self.max_waiting or own >= max(1, self.max_waiting // 2):
                return None
            self._waiting.append((client, future))
        self._grant()
        return future

    def leave(self, client: str) -> None:
        """Give a granted turn back."""
        with self._lock:
            self._running[client] -= 1
            self._running += Counter()  # forgets clients with none
        self._grant()

    def _grant(self) -> None:
        while (granted := self._next()) is not None:
            granted.set_result(None)

    def _next(self) -> Future[None] | None:
        with self._lock:
            while self._running.total() < self.capacity:
                eligible = [entry for entry in self._waiting if self._running[entry[0]] < self._per_client]
                if not eligible:
                    return None
                chosen = min(eligible, key=lambda entry: self._running[entry[0]])
                self._waiting.remove(chosen)
                if chosen[1].set_running_or_notify_cancel():
                    self._running[chosen[0]] += 1
                    return chosen[1]
            return None
