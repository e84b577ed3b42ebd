"""Rate limit for log messages: repeated messages are suppressed and counted, and the count is logged.

Warnings and errors repeat if they have the same template and the same source line of the exception; other messages only if their
text is equal.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

_MAX_REPEATS = 20  # messages of one kind per window
_WINDOW_S = 10.0
_MAX_KINDS = 1000  # kinds tracked at a time
_SUMMARY = "is_summary"


@dataclass
class _Kind:
    """The messages of one kind in the current window."""

    since: float
    sample: logging.LogRecord
    count: int = 0
    suppressed: int = 0


class RepeatFilter(logging.Filter):
    """Filter of one handler. It suppresses messages beyond the limit; at the end of the window `handler` logs their number."""

    def __init__(self, handler: logging.Handler, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._handler = handler
        self._clock = clock
        self.kinds: OrderedDict[Hashable, _Kind] = OrderedDict()  # by the start of their window

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log the record."""
        if getattr(record, _SUMMARY, False):
            return True
        now = self._clock()
        self._close_windows(now)
        kind = self.kinds.setdefault(_kind_of(record), _Kind(now, record))
        kind.count += 1
        if kind.count <= _MAX_REPEATS:
            return True
        kind.suppressed += 1
        return False

    def _close_windows(self, now: float) -> None:
        while self.kinds:
            kind = next(iter(self.kinds.values()))
            if now - kind.since < _WINDOW_S and len(self.kinds) <= _MAX_KINDS:
                return
            self.kinds.popitem(last=False)
            self._summarise(kind)

    def flush(self) -> None:
        """Log the counts of all open windows."""
        while self.kinds:
            self._summarise(self.kinds.popitem(last=False)[1])

    def _summarise(self, kind: _Kind) -> None:
        if not kind.suppressed:
            return
        sample = kind.sample
        message = f"Repeated {kind.suppressed} more times: {sample.getMessage()[:200]}"
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
    location = None if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return record.name, record.levelno, str(record.msg), type(error), location


def limit_errors(handler: logging.Handler, clock: Callable[[], float] = time.monotonic) -> None:
    """Let the handler report write errors (disk full, no file descriptor) on stderr at most once a minute.

    Without this, `logging` prints a traceback for every message.
    """
    reported_at = -60.0

    def handle_error(_: logging.LogRecord) -> None:
        nonlocal reported_at
        if clock() - reported_at >= 60.0 and sys.stderr is not None:
            reported_at = clock()
            error: Any = sys.exc_info()[1]
            try:
                sys.stderr.write(f"The log cannot be written now: {type(error).__name__}\n")
            except OSError:
                return

    setattr(handler, "handleError", handle_error)  # noqa: B010 -- overrides the method of one instance
