"""Detects dead workers without comparing clocks: several appliances may share a database, and their clocks differ and jump.

Each live worker rewrites the leases of its jobs at a fixed interval. A lease that has not changed for longer than its duration,
by this process's own monotonic clock, belongs to a dead worker. Kubernetes elects its leaders in the same way.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable

from hunyuanocr.store.leases import Lease


def worker_name(instance: str) -> str:
    """Return the name under which an appliance holds leases: the same after a restart, another one for each data folder.

    `instance`: id of the data folder.
    """
    return f"{socket.gethostname()[:100]}:{instance}"


class LeaseWatch:
    """Remembers since when each lease has not changed. `lease_s`: duration of a lease in seconds."""

    def __init__(self, lease_s: float, ticks: Callable[[], float] = time.monotonic) -> None:
        self._lease_s = lease_s
        self._ticks = ticks
        self._since: dict[Lease, float] = {}

    def expired(self, leases: Iterable[Lease]) -> list[Lease]:
        """Return those of all current leases that have not been renewed within their duration."""
        now = self._ticks()
        self._since = {lease: self._since.get(lease, now) for lease in leases}
        return [lease for lease, since in self._since.items() if now - since > self._lease_s]
