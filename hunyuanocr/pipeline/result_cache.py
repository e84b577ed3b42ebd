"""Results of late, so that the same picture asked the same way is not read twice.

Keys hold the owner: nobody is answered from another's picture, not even faster.
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
    """Blocking (hashes the bytes). Equal tasks print equally, so their text stands for them."""
    pictures = " ".join(hashlib.sha256(picture).hexdigest() for picture in (data, *more))
    return owner, pictures, hashlib.sha256(repr(task).encode()).hexdigest(), backend, model


def deep_size(thing: Any) -> int:
    """Bytes of memory that a result holds, shared constants counted anew: an upper bound."""
    size = sys.getsizeof(thing)
    if dataclasses.is_dataclass(thing):
        return size + sum(deep_size(getattr(thing, f.name)) for f in dataclasses.fields(thing))
    if isinstance(thing, Mapping):
        return size + sum(deep_size(k) + deep_size(v) for k, v in thing.items())
    if isinstance(thing, (tuple, list)):
        return size + sum(deep_size(v) for v in thing)
    return size


class ResultCache:
    """Least recently used out first; at most `megabytes` (0 keeps nothing), none older than `age_s` seconds."""

    def __init__(self, megabytes: float, age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = int(megabytes * 1e6)
        self._age_s = age_s
        self._clock = clock
        self._entries: OrderedDict[CacheKey, tuple[float, int, Result]] = OrderedDict()
        self.used = 0

    @property
    def enabled(self) -> bool:
        """False when the settings switch it off."""
        return self._capacity > 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: CacheKey) -> Result | None:
        """The result, if it is kept and young enough."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[2]

    def put(self, key: CacheKey, result: Result) -> None:
        """Keep a result, and let go of old ones for it; one larger than the whole cache is not kept."""
        size = deep_size(result)
        if size > self._capacity:
            return
        self._drop(key)
        self._entries[key] = (self._clock() + self._age_s, size, result)
        self.used += size
        while self.used > self._capacity:
            self._drop(next(iter(self._entries)))

    def forget(self, owner: str) -> None:
        """Forget what was read for this owner."""
        for key in [key for key in self._entries if key[0] == owner]:
            self._drop(key)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.used = 0

    def _drop(self, key: CacheKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.used -= entry[1]
