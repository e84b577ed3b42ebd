"""A reader that keeps failing is given a rest, so that clients hear "later" at once instead of waiting for the next failure.

The pattern is the circuit breaker of M. Nygard, "Release It!": closed → open after failures in a row → one probe → closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hunyuanocr.errors import BackendFailed, BackendUnavailable

_PROBE_S = 1.0  # what is told to those who come while the probe reads


class CircuitBreaker:
    """Counts the reader's own failures in a row; a bad picture, a cancellation or a deadline is neither failure nor success."""

    def __init__(self, failures: int, reset_timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._reset_timeout_s = reset_timeout_s
        self._clock = clock
        self._failed = 0
        self._until = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """True from the failure that was one too many until a reading succeeds again."""
        return self._failed >= self._limit

    def check(self) -> None:
        """Raise ReaderUnavailable while the reader rests or its probe is being read."""
        if not self.open:
            return
        left = self._until - self._clock()
        if left > 0 or self._probing:
            raise BackendUnavailable(
                f"The reader failed {self._failed} times in a row and is given a rest.", retry_after=max(left, _PROBE_S)
            )

    @contextmanager
    def protect(self) -> Iterator[None]:
        """Around one reading. After a rest the first to come is the probe; the others are refused until it has ended."""
        self.check()
        probe = self.open
        self._probing = self._probing or probe
        try:
            yield
            self._failed = 0
        except (BackendFailed, BackendUnavailable):
            self._failed += 1
            self._until = self._clock() + self._reset_timeout_s
            raise
        finally:
            if probe:
                self._probing = False
