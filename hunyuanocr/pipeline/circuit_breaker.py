"""The circuit breaker: a backend that fails repeatedly is not called for a while, and requests are refused immediately.

Source: M. Nygard, "Release It!": closed → open after consecutive failures → half-open with one probe → closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hunyuanocr.errors import BackendFailed, BackendUnavailable

_PROBE_RETRY_AFTER_S = 1.0  # for requests that arrive during the probe


class CircuitBreaker:
    """Counts consecutive failures of the backend. A bad image, a cancellation or a deadline does not change the count."""

    def __init__(self, failures: int, reset_timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._reset_timeout_s = reset_timeout_s
        self._clock = clock
        self._failures = 0
        self.until = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether the limit of consecutive failures is reached; a success resets it."""
        return self._failures >= self._limit

    def check(self) -> None:
        """Raise BackendUnavailable while the circuit is open or its probe runs."""
        if not self.open:
            return
        left = self.until - self._clock()
        if left > 0 or self._probing:
            raise BackendUnavailable(
                f"The OCR backend failed {self._failures} times in a row and is paused.",
                retry_after=max(left, _PROBE_RETRY_AFTER_S),
            )

    @contextmanager
    def protect(self) -> Iterator[None]:
        """Guard one call. After the pause the first request is the probe; others are refused until it has ended."""
        self.check()
        probe = self.open
        self._probing = self._probing or probe
        try:
            yield
            self._failures = 0
        except (BackendFailed, BackendUnavailable):
            self._failures += 1
            self.until = self._clock() + self._reset_timeout_s
            raise
        finally:
            if probe:
                self._probing = False
