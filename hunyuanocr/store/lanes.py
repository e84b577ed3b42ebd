"""Queues of transactions for the store's threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from hunyuanocr.errors import StoreUnavailable

_BACKOFF_S = 1.0  # after a transaction that has waited for a locked file in vain


class Lane:
    """A queue of transactions: when one has waited for a locked file in vain, the ones behind it fail immediately."""

    def __init__(self) -> None:
        self._closed_until = 0.0
        self._error: StoreUnavailable | None = None

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """Wrap one transaction. Raises StoreUnavailable immediately, shortly after another one in this queue has failed."""
        if self._error is not None and time.monotonic() < self._closed_until:
            raise StoreUnavailable(self._error.message, hint=self._error.hint)
        try:
            yield
        except StoreUnavailable as e:
            if e.waited:
                self._error, self._closed_until = e, time.monotonic() + _BACKOFF_S
            raise
        self._error = None
