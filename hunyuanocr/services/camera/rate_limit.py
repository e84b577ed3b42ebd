"""Limit the frame rate of a camera, by the camera's own clock."""

from __future__ import annotations

import math

_MILLISECONDS = 1e11  # a larger timestamp is in milliseconds (Date.now()); in seconds it would be the year 5138
_BACK_S = 1.0  # a clock that moves back further was set, or the camera was restarted
_STOPPED_S = 2.0  # real seconds after which a frame is accepted even if the camera's clock does not advance


class FrameRateLimiter:
    """Reduce frames to `rate` per second on average, for any incoming rate. A pause is not compensated."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._due = -math.inf
        self._latest = -math.inf
        self._accepted_at = -math.inf

    def accept(self, timestamp: float | None, now: float) -> bool:
        """Return whether this frame is processed. `now`: arrival in seconds, used if the timestamp is missing."""
        seconds = now if timestamp is None else timestamp / 1000 if timestamp > _MILLISECONDS else timestamp
        period = 1 / self.rate
        if seconds < self._latest - _BACK_S:
            self._due = seconds
        self._latest = seconds
        if seconds < self._due - 1e-6 and now < self._accepted_at + max(_STOPPED_S, period):
            return False
        late = seconds - self._due
        self._due = self._due + period if 0 <= late < period else seconds + period
        self._accepted_at = now
        return True
