"""The memory budget for all images that this process decodes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from hunyuanocr.errors import DecodingBusy, ImageTooLarge
from hunyuanocr.images.cancellation import Cancellation


class DecodingMemory:
    """A budget of `limit` bytes, granted in the order of requests. Thread-safe."""

    wait_s = 20.0  # other images take one or two seconds to decode, and with little memory recognition must end first

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def used(self) -> int:
        """Return the reserved bytes."""
        return self._used

    @contextmanager
    def reserved(self, needed: int, cancellation: Cancellation) -> Iterator[None]:
        """Reserve `needed` bytes while the block runs; wait for them up to 20 seconds.

        Raise ImageTooLarge if `needed` exceeds the limit, DecodingBusy after the wait, or WorkCancelled.
        """
        if needed > self.limit:
            raise ImageTooLarge(
                f"Decoding the image needs about {needed / 1e6:.0f} MB of memory; the limit is {self.limit / 1e6:.0f} MB.",
                hint="Send a smaller image, or the same image as a JPEG. Limit: 'images.decode_memory_mb'.",
            )
        self.acquire(needed, cancellation)
        try:
            yield
        finally:
            self.release(needed)

    def acquire(self, needed: int, cancellation: Cancellation) -> None:
        """Reserve until `release` is called, possibly in another thread; see `reserved`. `needed` must be within the limit."""
        with cancellation.calling(self._wake):
            self._wait(needed, cancellation)

    def release(self, needed: int) -> None:
        """Release reserved bytes."""
        with self._changed:
            self._used -= needed
            self._changed.notify_all()

    def _wait(self, needed: int, cancellation: Cancellation) -> None:
        ticket = object()
        deadline = time.monotonic() + self.wait_s
        with self._changed:
            self._queue.append(ticket)
            try:
                while self._queue[0] is not ticket or self._used + needed > self.limit:
                    cancellation.check()
                    if not self._changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                        raise DecodingBusy("Other large images are being decoded.", retry_after=self.wait_s / 4)
                self._used += needed
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
