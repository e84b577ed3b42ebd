"""Which frames of a camera are looked at: so many a second, by the camera's own clock."""

from __future__ import annotations

import math

_MILLISECONDS = 1e11  # a timestamp above it is Date.now(): as seconds it would lie in the year 5138
_BACK_S = 1.0  # a clock that goes back further was set, or belongs to a camera that started anew
_STOPPED_S = 2.0  # real seconds after which a camera whose clock stands still is looked at all the same


class FrameRateLimiter:
    """Thins frames out to `rate` a second on the average, whatever rate they come at. A pause is not made up for."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._due = -math.inf
        self._latest = -math.inf
        self._taken_at = -math.inf

    def accept(self, timestamp: float | None, now: float) -> bool:
        """Whether this frame is looked at. `now` is the time of its arrival in seconds; it stands in for a missing timestamp."""
        seconds = now if timestamp is None else timestamp / 1000 if timestamp > _MILLISECONDS else timestamp
        period = 1 / self.rate
        if seconds < self._latest - _BACK_S:
            self._due = seconds
        self._latest = seconds
        if seconds < self._due - 1e-6 and now < self._taken_at + max(_STOPPED_S, period):
            return False
        late = seconds - self._due
        self._due = self._due + period if 0 <= late < period else seconds + period
        self._taken_at = now
        return True
