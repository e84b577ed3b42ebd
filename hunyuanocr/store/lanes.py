"""Transactions that line up for the store's threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from hunyuanocr.errors import StoreUnavailable

_REST_S = 1.0  # after a transaction that has waited for a locked file in vain


class Lane:
    """Those who line up for the threads: when one has waited for a locked file in vain, the others behind it do not."""

    def __init__(self) -> None:
        self._rest_until = 0.0
        self._why: StoreUnavailable | None = None

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """Around one transaction. Raises StoreUnavailable at once, shortly after another one of this lane has."""
        if self._why is not None and time.monotonic() < self._rest_until:
            raise StoreUnavailable(self._why.message, hint=self._why.hint)
        try:
            yield
        except StoreUnavailable as e:
            if e.waited:
                self._why, self._rest_until = e, time.monotonic() + _REST_S
            raise
        self._why = None
