"""One budget of memory for all pictures that are being decoded in this process."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from hunyuanocr.errors import DecodingBusy, ImageTooLarge
from hunyuanocr.images.cancellation import Cancellation

_WAIT_S = 20.0  # for other pictures, which take a second or two; with little memory for a reading too


class DecodingMemory:
    """`limit` bytes, given out in the order of asking. Safe to use from several threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def used(self) -> int:
        """Bytes that are given out."""
        return self._used

    @contextmanager
    def reserved(self, needed: int, cancellation: Cancellation) -> Iterator[None]:
        """Hold `needed` bytes while the block runs; waits for them, at most twenty seconds.

        Raises ImageTooLarge where there will never be so many, DecodingBusy, WorkCancelled.
        """
        if needed > self.limit:
            raise ImageTooLarge(
                f"To decode the picture takes about {needed / 1e6:.0f} MB of memory; the limit is {self.limit / 1e6:.0f} MB.",
                hint="Send a smaller picture, or the same one as a JPEG; the limit is the setting 'images.decode_memory_mb'.",
            )
        self.acquire(needed, cancellation)
        try:
            yield
        finally:
            self.release(needed)

    def acquire(self, needed: int, cancellation: Cancellation) -> None:
        """As `reserved`, for what ends in another thread: `release` must be called then. `needed` must not exceed the limit."""
        with cancellation.calling(self._wake):
            self._wait(needed, cancellation)

    def release(self, needed: int) -> None:
        """Give bytes back."""
        with self._changed:
            self._used -= needed
            self._changed.notify_all()

    def _wait(self, needed: int, cancellation: Cancellation) -> None:
        ticket = object()
        ends = time.monotonic() + _WAIT_S
        with self._changed:
            self._queue.append(ticket)
            try:
                while self._queue[0] is not ticket or self._used + needed > self.limit:
                    cancellation.check()
                    if not self._changed.wait(ends - time.monotonic()) and time.monotonic() >= ends:
                        raise DecodingBusy("Other large pictures are being decoded.", retry_after=_WAIT_S / 4)
                self._used += needed
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
