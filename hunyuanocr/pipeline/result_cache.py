"""A cache of recent results, so that the same image with the same task is not recognised twice.

Keys contain the owner: a client never receives the result of another client's request, and cannot detect it by its speed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from cachetools import TTLCache

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


class ResultCache(TTLCache[CacheKey, Result, float]):
    """An LRU cache of at most `megabytes` (0 disables it); entries expire after `age_s` seconds. Not thread-safe."""

    def __init__(self, megabytes: float, age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(int(megabytes * 1e6), age_s, clock, getsizeof=deep_size)

    @property
    def enabled(self) -> bool:
        """Whether the settings enable the cache."""
        return self.maxsize > 0

    def put(self, key: CacheKey, result: Result) -> None:
        """Store a result and evict the least recently used ones. A result larger than the cache is not stored."""
        with suppress(ValueError):  # too large
            self[key] = result

    def forget(self, owner: str) -> None:
        """Remove the results of this owner."""
        for key in [key for key in self if key[0] == owner]:
            self.pop(key, None)
