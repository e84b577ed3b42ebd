"""Order of webhook deliveries: fair between owners and receivers, so that slow receivers do not delay messages of others.

A lane is one owner's messages to one receiver (scheme, host and port; the settings limit the hosts). A lane with a responding
receiver has a few concurrent deliveries, an unknown or failing one has one, and all failing lanes share a small part of the
slots. One owner never uses all slots.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar
from urllib.parse import urlsplit

from cachetools import FIFOCache

from hunyuanocr.store.deliveries import Delivery

T = TypeVar("T")
Lane = tuple[str, str, str, int | None]  # owner, scheme, host, port

SLOTS = 64  # concurrent deliveries; each holds one message in memory
_MAX_PER_OWNER = 48
_MAX_FAILING = 8
_MAX_PER_LANE = 4
_MAX_REMEMBERED = 4096  # lanes with a known latest outcome


def lane_of(delivery: Delivery) -> Lane:
    """Return the lane of a message; its URL was validated when the job was accepted."""
    parts = urlsplit(delivery.url)
    try:
        port = parts.port
    except ValueError:  # the row was edited: the delivery fails later
        port = None
    return delivery.owner, parts.scheme, parts.hostname or "", port or {"http": 80, "https": 443}.get(parts.scheme)


def origin_of(delivery: Delivery) -> str:
    """Return scheme, host and port of the URL as written, in lower case."""
    parts = urlsplit(delivery.url)
    return f"{parts.scheme}://{parts.netloc}".lower()


class Lanes:
    """Deliveries in progress per lane, and the latest outcome of each lane."""

    def __init__(self) -> None:
        self._in_flight: Counter[Lane] = Counter()
        self._origins: dict[Lane, Counter[str]] = {}
        self._answers: FIFOCache[Lane, bool] = FIFOCache(_MAX_REMEMBERED)  # by the time of their outcome

    @property
    def free(self) -> int:
        """Number of deliveries that may still start."""
        return SLOTS - self._in_flight.total()

    def turns(self, owners: Iterable[str]) -> list[str]:
        """Return the owners below their limit, fewest deliveries in progress first, otherwise in the same order."""
        counts: Counter[str] = Counter()
        for lane, count in self._in_flight.items():
            counts[lane[0]] += count
        return [o for o in sorted(owners, key=lambda owner: counts[owner]) if counts[o] < _MAX_PER_OWNER]

    def busy(self, owner: str) -> set[str]:
        """Return the origins to which this owner has the maximum number of deliveries in progress."""
        full = (lane for lane in self._in_flight if lane[0] == owner and self._capacity(lane) <= 0)
        return {origin for lane in full for origin in self._origins[lane]}

    def _capacity(self, lane: Lane) -> int:
        answers = self._answers.get(lane)
        if answers:
            return _MAX_PER_LANE - self._in_flight[lane]
        failing = sum(count for other, count in self._in_flight.items() if self._answers.get(other) is False)
        if answers is False and failing >= _MAX_FAILING:
            return 0
        return 1 - self._in_flight[lane]

    def pick(self, candidates: Iterable[Delivery], limit: int) -> list[Delivery]:
        """Return and count as started up to `limit` deliveries that may start now; responding receivers first."""
        chosen: list[Delivery] = []
        for delivery in sorted(candidates, key=lambda d: self._answers.get(lane_of(d)) is False):
            lane = lane_of(delivery)
            if len(chosen) < limit and self._capacity(lane) > 0:
                self._in_flight[lane] += 1
                self._origins.setdefault(lane, Counter())[origin_of(delivery)] += 1
                chosen.append(delivery)
        return chosen

    def end(self, delivery: Delivery, *, answers: bool | None) -> None:
        """Mark a delivery as finished; `answers`: whether the receiver responded, None if no request was sent."""
        lane = lane_of(delivery)
        self._in_flight[lane] -= 1
        if not self._in_flight[lane]:
            del self._in_flight[lane], self._origins[lane]
        if answers is not None:
            self._answers[lane] = answers
