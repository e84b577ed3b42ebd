"""A cache of recent results, so that the same image with the same task is not recognised twice.

Keys contain the owner: a client never receives the result of another client's request, and cannot detect it by its speed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hunyuanocr.types import Result, Task

CacheKey = tuple[str, str, str, str, str]  # owner, bytes, task, backend, model


def cache_key(owner: str, data: bytes, task: Task, backend: str, model: str, *, more: Sequence[bytes] = ()) -> CacheKey:
    """Return the key of a request. Blocking (hashes the bytes). Equal tasks have equal texts, which identify them."""
    images = " ".join(hashlib.sha256(image).hexdigest() for image in (data, *more))
    return owner, images, hashlib.sha256(repr(task).encode()).hexdigest(), backend, model


def deep_size(value: Any) -> int:
    """Return the memory of a value in bytes: an upper bound, because shared objects are counted each time."""
    size = sys.getsizeof(value)
    if dataclasses.is_dataclass(value):
        return size + sum(deep_size(getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return size + sum(deep_size(k) + deep_size(v) for k, v in value.items())
    if isinstance(value, (tuple, list)):
        return size + sum(deep_size(v) for v in value)
    return size


class ResultCache:
    """An LRU cache of at most `megabytes` (0 disables it); entries expire after `age_s` seconds."""

    def __init__(self, megabytes: float, age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = int(megabytes * 1e6)
        self._age_s = age_s
        self._clock = clock
        self._entries: OrderedDict[CacheKey, tuple[float, int, Result]] = OrderedDict()
        self.used = 0

    @property
    def enabled(self) -> bool:
        """Whether the settings enable the cache."""
        return self._capacity > 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: CacheKey) -> Result | None:
        """Return the result, or None if it is not cached or has expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[2]

    def put(self, key: CacheKey, result: Result) -> None:
        """Store a result and evict the least recently used ones. A result larger than the cache is not stored."""
        size = deep_size(result)
        if size > self._capacity:
            return
        self._drop(key)
        self._entries[key] = (self._clock() + self._age_s, size, result)
        self.used += size
        while self.used > self._capacity:
            self._drop(next(iter(self._entries)))

    def forget(self, owner: str) -> None:
        """Remove the results of this owner."""
        for key in [key for key in self._entries if key[0] == owner]:
            self._drop(key)

    def clear(self) -> None:
        """Remove all results."""
        self._entries.clear()
        self.used = 0

    def _drop(self, key: CacheKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.used -= entry[1]
