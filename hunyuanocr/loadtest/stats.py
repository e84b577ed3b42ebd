"""Statistics of a run: three numbers per request, and a Sample per measurement of the server."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

KINDS = ("ocr", "job", "frame", "records")


@dataclass(frozen=True)
class Sample:
    """One measurement of /metrics. `at`: seconds since the start; `rss`: bytes; `cpu`: cores; GPU values if there is a GPU."""

    at: float
    requests: int
    rss: float
    fds: float
    cpu: float | None = None
    gpu: float | None = None
    gpu_memory: float | None = None


class RunStats:
    """Statistics in memory: 24 bytes per request, some tens of megabytes for three days."""

    def __init__(self) -> None:
        self.at, self.seconds, self.kind = array("d"), array("d"), array("b")
        self.refused: Counter[str] = Counter()  # 429 and 503
        self.failed: Counter[str] = Counter()
        self.first_failures: list[str] = []
        self.right = self.asked = 0  # totals that were read correctly, and requested
        self.samples: list[Sample] = []

    def done(self, kind: str, at: float, seconds: float) -> None:
        """Count a successful request."""
        self.at.append(at)
        self.seconds.append(seconds)
        self.kind.append(KINDS.index(kind))

    def failure(self, kind: str, what: str) -> None:
        """Count a failed request; the first ones are kept for the report."""
        self.failed[kind] += 1
        if len(self.first_failures) < 20:
            self.first_failures.append(f"{kind}: {what}"[:300])

    def columns(self) -> tuple[Any, Any, Any]:
        """Return times, seconds and kinds as arrays."""
        return np.array(self.at), np.array(self.seconds), np.array(self.kind)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the samples for the report."""
        return [asdict(sample) for sample in self.samples]
