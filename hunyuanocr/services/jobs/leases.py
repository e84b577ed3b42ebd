"""Which workers are dead, judged without comparing clocks: several appliances may share one database, and clocks differ and jump.

Each living worker rewrites the lease of its jobs every some seconds. A lease that has stayed the same for longer than it is
good for, by this process's own monotonic clock, has no worker any more (Kubernetes elects its leaders in the same way).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from hunyuanocr.store.leases import Lease


class LeaseWatch:
    """Remembers since when it has seen each lease unchanged. `lease_s` is how long one is good for, in seconds."""

    def __init__(self, lease_s: float, ticks: Callable[[], float] = time.monotonic) -> None:
        self._lease_s = lease_s
        self._ticks = ticks
        self._since: dict[Lease, float] = {}

    def expired(self, found: Iterable[Lease]) -> list[Lease]:
        """Those of all leases of now that have not been renewed for longer than they are good for."""
        now = self._ticks()
        self._since = {lease: self._since.get(lease, now) for lease in found}
        return [lease for lease, since in self._since.items() if now - since > self._lease_s]
