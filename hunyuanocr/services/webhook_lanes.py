"""Who may be called next: fairness between owners and between receivers, so that slow receivers hold up nobody else's messages.

A lane is one owner's messages to one receiver (scheme, host and port; the settings bound how many hosts there are). A lane that
answers has some deliveries at a time, an unknown one or one that failed to answer has one, and all failing ones together have a
small part of the slots. An owner never has all slots.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import TypeVar
from urllib.parse import urlsplit

from hunyuanocr.store.deliveries import Delivery

T = TypeVar("T")
Lane = tuple[str, str, str, int | None]  # owner, scheme, host, port

SLOTS = 64  # deliveries at a time; each holds one message in memory
_MAX_PER_OWNER = 48
_MAX_FAILING = 8
_MAX_PER_LANE = 4
_MAX_REMEMBERED = 4096  # lanes whose latest outcome is known


def lane_of(delivery: Delivery) -> Lane:
    """The lane of a message, whose address has been checked when it was accepted."""
    parts = urlsplit(delivery.url)
    try:
        port = parts.port
    except ValueError:  # a row that somebody has changed: it fails later
        port = None
    return delivery.owner, parts.scheme, parts.hostname or "", port or {"http": 80, "https": 443}.get(parts.scheme)


def origin_of(delivery: Delivery) -> str:
    """What the address begins with, as it is written, in lower case."""
    parts = urlsplit(delivery.url)
    return f"{parts.scheme}://{parts.netloc}".lower()


class Lanes:
    """What is under way in each lane, and how the latest delivery of each went."""

    def __init__(self) -> None:
        self._flying: Counter[Lane] = Counter()
        self._origins: dict[Lane, Counter[str]] = {}
        self._answers: OrderedDict[Lane, bool] = OrderedDict()

    @property
    def free(self) -> int:
        """How many more deliveries may begin."""
        return SLOTS - self._flying.total()

    def turns(self, owners: Iterable[str]) -> list[str]:
        """These owners, those with the fewest deliveries under way first; else in the order given."""
        under_way: Counter[str] = Counter()
        for lane, count in self._flying.items():
            under_way[lane[0]] += count
        return [o for o in sorted(owners, key=lambda owner: under_way[owner]) if under_way[o] < _MAX_PER_OWNER]

    def busy(self, owner: str) -> set[str]:
        """Beginnings of addresses to which this owner has as many deliveries under way as may be."""
        full = (lane for lane in self._flying if lane[0] == owner and self._room(lane) <= 0)
        return {origin for lane in full for origin in self._origins[lane]}

    def _room(self, lane: Lane) -> int:
        answers = self._answers.get(lane)
        if answers:
            return _MAX_PER_LANE - self._flying[lane]
        failing = sum(count for other, count in self._flying.items() if self._answers.get(other) is False)
        if answers is False and failing >= _MAX_FAILING:
            return 0
        return 1 - self._flying[lane]

    def pick(self, candidates: Iterable[Delivery], most: int) -> list[Delivery]:
        """Those that may begin now, `most` at most: of receivers that answer before those that did not; they count as begun."""
        chosen: list[Delivery] = []
        for delivery in sorted(candidates, key=lambda d: self._answers.get(lane_of(d)) is False):
            lane = lane_of(delivery)
            if len(chosen) < most and self._room(lane) > 0:
                self._flying[lane] += 1
                self._origins.setdefault(lane, Counter())[origin_of(delivery)] += 1
                chosen.append(delivery)
        return chosen

    def end(self, delivery: Delivery, *, answers: bool | None) -> None:
        """A delivery is over; `answers`: whether the receiver did, None where it was not asked."""
        lane = lane_of(delivery)
        self._flying[lane] -= 1
        if not self._flying[lane]:
            del self._flying[lane], self._origins[lane]
        if answers is not None:
            self._answers[lane] = answers
            self._answers.move_to_end(lane)
            if len(self._answers) > _MAX_REMEMBERED:
                self._answers.popitem(last=False)
