"""Cancellation of work in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class WorkCancelled(Exception):
    """The work was cancelled. Clients never see this exception."""


class Cancellation:
    """A cancellation token: one thread calls `cancel`, another one `check` or `calling`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Return whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Cancel the work and run the registered callbacks in this thread. Idempotent."""
        with self._lock:
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raise WorkCancelled if `cancel` was called. Call it between two steps of a loop."""
        if self._cancelled:
            raise WorkCancelled

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Register `callback`, which must not block, with `cancel` during the block. Raise WorkCancelled if already cancelled."""
        with self._lock:
            self.check()
            self._callbacks.append(callback)
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)
