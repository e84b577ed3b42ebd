"""What is remembered of a run: of every request three numbers, of every look at the server some figures."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

KINDS = ("ocr", "job", "frame", "records")


@dataclass(frozen=True)
class Sample:
    """One look at /metrics. `at` in seconds since the start, `rss` in bytes, `cpu` in cores; GPU figures where there is one."""

    at: float
    requests: int
    rss: float
    fds: float
    cpu: float | None = None
    gpu: float | None = None
    gpu_memory: float | None = None


class RunStats:
    """24 bytes a request: three days of traffic are some tens of megabytes."""

    def __init__(self) -> None:
        self.at, self.seconds, self.kind = array("d"), array("d"), array("b")
        self.refused: Counter[str] = Counter()  # 429 and 503: told to come later
        self.failed: Counter[str] = Counter()
        self.first_failures: list[str] = []
        self.right = self.asked = 0  # totals that were read as they stand
        self.samples: list[Sample] = []

    def done(self, kind: str, at: float, seconds: float) -> None:
        """A request was answered."""
        self.at.append(at)
        self.seconds.append(seconds)
        self.kind.append(KINDS.index(kind))

    def failure(self, kind: str, what: str) -> None:
        """A request was not answered as it should; the first ones are told."""
        self.failed[kind] += 1
        if len(self.first_failures) < 20:
            self.first_failures.append(f"{kind}: {what}"[:300])

    def columns(self) -> tuple[Any, Any, Any]:
        """Times, seconds and kinds as arrays."""
        return np.array(self.at), np.array(self.seconds), np.array(self.kind)

    def to_dict(self) -> list[dict[str, Any]]:
        """The samples for the report."""
        return [asdict(sample) for sample in self.samples]
