"""Memory limit for the frames of all cameras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hunyuanocr.services.camera.messages import Frame

_MIN_BYTES = 512 * 1024 * 1024  # three frames of 80 KB for each of 2,000 cameras
_MIN_FRAMES = 4  # minimum capacity in frames of the largest size
_RESERVE = 8  # an eighth of the capacity is reserved for clients with little memory in use: a quarter of it each at most


class FrameBudget:
    """Byte budget for frames from arrival to reply or disconnection.

    A client that uses all of the capacity leaves a reserve to others: clients with little memory in use may exceed the capacity
    by an eighth.
    """

    def __init__(self, largest: int) -> None:
        self.capacity = max(_MIN_BYTES, _MIN_FRAMES * largest)
        self.used = 0
        self._by_client: Counter[str] = Counter()

    def acquire(self, frame: Frame, holder: str = "") -> bool:
        """Count a frame; return False without counting it if it exceeds the budget. `holder` is the client's fairness key."""
        reserve = self.capacity // _RESERVE
        few = self._by_client[holder] + frame.size <= max(reserve // 4, min(frame.size, reserve))
        if self.used + frame.size > self.capacity + (reserve if few else 0):
            return False
        self.used += frame.size
        self._by_client[holder] += frame.size
        return True

    def release(self, frames: Iterable[Frame], holder: str = "") -> None:
        """Release the memory of these frames."""
        size = sum(frame.size for frame in frames)
        self.used -= size
        self._by_client[holder] -= size
        if not self._by_client[holder]:
            del self._by_client[holder]
