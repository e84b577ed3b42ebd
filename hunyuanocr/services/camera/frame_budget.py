"""How many bytes of frames there may be at a time, of all cameras together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hunyuanocr.services.camera.messages import Frame

_BYTES = 512 * 1024 * 1024  # three frames of 80 KB of each of 2,000 cameras
_FRAMES = 4  # of the largest size there is always room for
_RESERVE = 8  # an eighth more is for clients that hold little: a quarter of that each at most


class FrameBudget:
    """Frames from their arrival to their answer, or to the end of their connection. A client that fills it leaves the others a
    reserve: who holds little may go beyond the limit by an eighth.
    """

    def __init__(self, largest: int) -> None:
        self.capacity = max(_BYTES, _FRAMES * largest)
        self.held = 0
        self._by: Counter[str] = Counter()

    def acquire(self, frame: Frame, holder: str = "") -> bool:
        """Count a frame; False, and it is not counted, where there is no room. `holder` is the client's fairness key."""
        reserve = self.capacity // _RESERVE
        few = self._by[holder] + frame.size <= max(reserve // 4, min(frame.size, reserve))
        if self.held + frame.size > self.capacity + (reserve if few else 0):
            return False
        self.held += frame.size
        self._by[holder] += frame.size
        return True

    def release(self, frames: Iterable[Frame], holder: str = "") -> None:
        """Count them no more."""
        size = sum(frame.size for frame in frames)
        self.held -= size
        self._by[holder] -= size
        if not self._by[holder]:
            del self._by[holder]
