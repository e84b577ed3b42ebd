"""A log that cannot be flooded: lines that are alike are written some times, then counted, and the count is written.

Warnings and errors are alike by their template and the place where they broke, whatever values they hold; other lines only where
they are the same letter for letter.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

_TIMES = 20  # of one kind …
_WINDOW_S = 10.0  # … in so many seconds
_MAX_KINDS = 1000  # that are remembered
_SUMMARY = "is_summary"


@dataclass
class _Kind:
    """Lines of one kind within their window."""

    since: float
    sample: logging.LogRecord
    times: int = 0
    left_out: int = 0


class RepeatFilter(logging.Filter):
    """Of one handler. Lines beyond the limit are left out; when their window is over, `handler` writes how many."""

    def __init__(self, handler: logging.Handler, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._handler = handler
        self._clock = clock
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()  # by the beginning of their windows

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if getattr(record, _SUMMARY, False):
            return True
        now = self._clock()
        self._close_windows(now)
        kind = self._kinds.setdefault(_kind_of(record), _Kind(now, record))
        kind.times += 1
        if kind.times <= _TIMES:
            return True
        kind.left_out += 1
        return False

    def _close_windows(self, now: float) -> None:
        while self._kinds:
            kind = next(iter(self._kinds.values()))
            if now - kind.since < _WINDOW_S and len(self._kinds) <= _MAX_KINDS:
                return
            self._kinds.popitem(last=False)
            self._summarise(kind)

    def flush(self) -> None:
        """Write what was counted."""
        while self._kinds:
            self._summarise(self._kinds.popitem(last=False)[1])

    def _summarise(self, kind: _Kind) -> None:
        if not kind.left_out:
            return
        sample = kind.sample
        message = f"Repeated {kind.left_out} more times: {sample.getMessage()[:200]}"
        summary = logging.LogRecord(sample.name, sample.levelno, sample.pathname, sample.lineno, message, None, None)
        setattr(summary, _SUMMARY, True)
        self._handler.handle(summary)


def _kind_of(record: logging.LogRecord) -> Hashable:
    if record.levelno < logging.WARNING:
        return record.name, record.levelno, record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    trace = None if error is None else error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = None if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return record.name, record.levelno, str(record.msg), type(error), place


def limit_errors(handler: logging.Handler, clock: Callable[[], float] = time.monotonic) -> None:
    """A handler that cannot write (a full disk, no descriptor) says so once a minute, where logging would print a traceback for
    every line.
    """
    said_at = -60.0

    def handle_error(_: logging.LogRecord) -> None:
        nonlocal said_at
        if clock() - said_at >= 60.0 and sys.stderr is not None:
            said_at = clock()
            error: Any = sys.exc_info()[1]
            try:
                sys.stderr.write(f"The log cannot be written now: {type(error).__name__}\n")
            except OSError:
                return

    setattr(handler, "handleError", handle_error)  # noqa: B010 -- a method of one handler
