"""Time that does not believe every jump of the machine's clock.

A machine without a battery starts in 1970, a typing error sets the clock three years ahead, a time server sets it right again.
Two times follow from that. `now` is for stamps that people see: the wall clock, but never before a moment that has certainly
been. `trusted` is for ages, waiting times and above all deletion: it runs on by a clock that never jumps, and follows the wall
clock again when that has run evenly beside it for a day.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

log = logging.getLogger(__name__)

# How far ahead of the last moment known the wall clock may be at a start and be believed at once: a long weekend. Jobs are kept
# for a week by default, so that a clock that is wrong by less than this deletes nothing that is younger than three days.
MAX_OFF = timedelta(days=4)
PROOF_S = 24 * 3600.0  # how long a clock that jumped must run evenly before it is believed, over restarts too
_TOLERANCE = timedelta(seconds=5)  # between two observations: what time servers correct in small steps
_UNEVEN_S = 600.0
_NOTEWORTHY = timedelta(hours=2)  # smaller jumps are no reason for a warning


def utc_now() -> datetime:
    """Now, in UTC, by the machine's clock."""
    return datetime.now(UTC)


def boot_ticks() -> float:
    """Seconds since the machine started, its sleep included; never set, never backwards."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """One for the process. Before `begin` nothing is trusted, and `now` is the wall clock's.

    `wall` and `ticks` are the tests' to replace. Safe to read from any thread; `begin` and `observe` belong to one task.
    """

    def __init__(self, wall: Callable[[], datetime] = utc_now, ticks: Callable[[], float] = boot_ticks) -> None:
        self.wall = wall
        self.ticks = ticks
        self._base: tuple[datetime, float] | None = None  # a trusted moment, and the ticks then
        self._pending: tuple[datetime, float, float] | None = None  # one in doubt, the ticks then, how long it ran evenly

    def now(self) -> datetime:
        """The time of what happens now, for stamps and for the end of keys and sessions: never before `trusted`."""
        wall, trusted = self.wall(), self.trusted()
        return wall if trusted is None else max(wall, trusted)

    def trusted(self) -> datetime | None:
        """A moment that has certainly come, by a clock that does not jump; None before `begin`."""
        return self._at(self.ticks())

    def _at(self, ticks: float) -> datetime | None:
        if self._base is None:
            return None
        moment, base = self._base
        return moment + timedelta(seconds=ticks - base)

    def timer(self) -> datetime:
        """For waiting times that are written down: `trusted`, or the wall clock before there is one."""
        return self.trusted() or self.wall()

    @property
    def doubtful(self) -> bool:
        """Whether the wall clock has jumped and is not believed yet."""
        return self._pending is not None

    def begin(self, saved: Mapping[str, Any] | None, wall: datetime, ticks: float) -> None:
        """Start from what `state` said at the end of the last run, or from the wall clock where there was none.

        `wall` and `ticks` are of one moment.
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
        """Compare the wall clock with the steady one, read at one moment; called every minute or so."""
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
            log.warning("The clock has run evenly for a day and is believed now: %s.", wall.isoformat(timespec="seconds"))
            self._base, self._pending = (wall, ticks), None

    def state(self) -> dict[str, Any] | None:
        """What `begin` takes at the next start, as JSON."""
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
        level = logging.WARNING if abs(wall - known) > _NOTEWORTHY else logging.INFO
        log.log(
            level, "The clock says %s, but what is known says %s: nothing is deleted by age until it has run evenly for a day.",
            wall.isoformat(timespec="seconds"), known.isoformat(timespec="seconds"),
        )  # fmt: skip


def _continued(doubt: Mapping[str, Any], wall: datetime) -> float | None:
    """How long the clock that was in doubt at the last run has run evenly, in seconds; None where this is another one."""
    since = wall - datetime.fromisoformat(doubt["time"])
    return float(doubt["ran_s"]) if -timedelta(seconds=_UNEVEN_S) <= since <= MAX_OFF else None
