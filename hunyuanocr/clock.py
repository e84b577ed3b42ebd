"""Time that is robust against jumps of the system clock.

A machine without an RTC battery starts in 1970, a typing error sets the clock three years ahead, a time server corrects it. Hence
there are two times. `now` is for timestamps: the wall clock, but never before a time that has certainly passed. `trusted` is for
ages, waiting times and deletion: it continues by a monotonic clock, and follows the wall clock again after both have advanced
equally for a day.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

log = logging.getLogger(__name__)

# Maximum time between two runs for which the wall clock is trusted immediately: a long weekend. Jobs are kept for a week by
# default, so that a smaller clock error deletes nothing younger than three days.
MAX_OFF = timedelta(days=4)
PROOF_S = 24 * 3600.0  # time that a clock that jumped must run evenly before it is trusted, including restarts
_TOLERANCE = timedelta(seconds=5)  # between two observations, for small corrections by time servers
_UNEVEN_S = 600.0
_WARN_ABOVE = timedelta(hours=2)  # smaller jumps are logged as information


def utc_now() -> datetime:
    """Return the current time of the system clock in UTC."""
    return datetime.now(UTC)


def boot_ticks() -> float:
    """Return the seconds since boot, including suspend (CLOCK_BOOTTIME); monotonic."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """The clock of the process. Before `begin`, `trusted` is None and `now` is the wall clock.

    Tests replace `wall` and `ticks`. Reading is thread-safe; only one task may call `begin` and `observe`.
    """

    def __init__(self, wall: Callable[[], datetime] = utc_now, ticks: Callable[[], float] = boot_ticks) -> None:
        self.wall = wall
        self.ticks = ticks
        self._base: tuple[datetime, float] | None = None  # trusted time, and the ticks at it
        self._pending: tuple[datetime, float, float] | None = (
            None  # doubtful wall time, the ticks at it, seconds that it ran evenly
        )

    def now(self) -> datetime:
        """Return the time for timestamps and for the expiry of keys and sessions; never before `trusted`."""
        wall, trusted = self.wall(), self.trusted()
        return wall if trusted is None else max(wall, trusted)

    def trusted(self) -> datetime | None:
        """Return a time that has certainly passed, by a clock that does not jump; None before `begin`."""
        return self._at(self.ticks())

    def _at(self, ticks: float) -> datetime | None:
        if self._base is None:
            return None
        moment, base = self._base
        return moment + timedelta(seconds=ticks - base)

    def timer(self) -> datetime:
        """Return the time for stored waiting times: `trusted`, or the wall clock before `begin`."""
        return self.trusted() or self.wall()

    @property
    def doubtful(self) -> bool:
        """Return whether the wall clock has jumped and is not trusted yet."""
        return self._pending is not None

    def begin(self, saved: Mapping[str, Any] | None, wall: datetime, ticks: float) -> None:
        """Start from the saved `state` of the last run, or from the wall clock if there is none.

        `wall` and `ticks` must be read at the same time.
        """
        latest = None if saved is None else datetime.fromisoformat(saved["time"])
        if saved is None or latest is None:
            self._base = wall, ticks
            return
        doubt = saved.get("pending")
        ran = None if doubt is None else _continued(doubt, wall)
        if ran is None and -_TOLERANCE <= wall - latest <= MAX_OFF:
            self._base = wall, ticks
            return
        self._base = latest, ticks
        self._pending = wall, ticks, ran or 0.0
        self._warn(wall, latest)

    def observe(self, wall: datetime, ticks: float) -> None:
        """Compare the wall clock with the monotonic clock, both read at the same time. Called about once a minute."""
        trusted = self._at(ticks)
        if trusted is None or abs(wall - trusted) <= _TOLERANCE:
            self._base, self._pending = (wall, ticks), None
            return
        ran = 0.0
        if self._pending is None:
            self._warn(wall, trusted)
        else:
            before, ticks_before, ran = self._pending
            passed = ticks - ticks_before
            even = abs((wall - before).total_seconds() - passed) <= _UNEVEN_S
            ran = ran + passed if even else 0.0
        self._pending = wall, ticks, ran
        if ran >= PROOF_S:
            log.warning("The system clock has run evenly for a day and is trusted again: %s.", wall.isoformat(timespec="seconds"))
            self._base, self._pending = (wall, ticks), None

    def state(self) -> dict[str, Any] | None:
        """Return the state for `begin` at the next start, as JSON."""
        trusted = self.trusted()
        if trusted is None:
            return None
        doubt = None
        if self._pending is not None:
            wall, ticks, ran = self._pending
            doubt = {"time": (wall + timedelta(seconds=self.ticks() - ticks)).isoformat(), "ran_s": ran}
        return {"time": trusted.isoformat(), "pending": doubt}

    @staticmethod
    def _warn(wall: datetime, known: datetime) -> None:
        level = logging.WARNING if abs(wall - known) > _WARN_ABOVE else logging.INFO
        log.log(
            level,
            "The system clock jumped to %s; expected %s. Nothing is deleted by age until it has run evenly for a day.",
            wall.isoformat(timespec="seconds"),
            known.isoformat(timespec="seconds"),
        )


def _continued(doubt: Mapping[str, Any], wall: datetime) -> float | None:
    """Return for how many seconds the doubtful clock of the last run has run evenly; None if the clock has jumped since."""
    since = wall - datetime.fromisoformat(doubt["time"])
    return float(doubt["ran_s"]) if -timedelta(seconds=_UNEVEN_S) <= since <= MAX_OFF else None
