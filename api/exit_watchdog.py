"""End the process some time after SIGTERM or SIGINT, even if its event loop is blocked."""

from __future__ import annotations

import faulthandler
import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

MARGIN_S = 15.0  # after the grace period: for the last responses, the engine and the database
_SECOND_SIGNAL_S = 5.0  # time to exit after a second signal
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class ExitWatchdog:
    """Calls `on_signal` in the main thread for each SIGTERM and SIGINT, and ends the process if it does not exit in time.

    Signals are detected in two ways, because a blocked main thread runs no Python signal handler. C code that checks for signals
    (a regular expression, an interrupted read) runs the handler. For other code that releases the interpreter's lock, a thread
    reads the signal number, which the C-level handler writes to a socket (`signal.set_wakeup_fd`). Both start the timer of
    `faulthandler`, which needs no lock: it writes the stack of every thread to stderr and ends the process with status 1.
    Only SIGKILL, from the supervisor, ends C code that holds the lock and never checks for signals.
    """

    def __init__(self, grace_s: float, on_signal: Callable[[], object]) -> None:
        self._grace_s = grace_s
        self._on_signal = on_signal
        self._ends_at = math.inf
        self._lock = threading.RLock()  # the handler may interrupt the main thread while it holds it

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handle signals inside the context, in the main thread. A timer that has started stays active: the process is ending."""
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        thread = threading.Thread(target=self._read, args=(reader,), name="exit-watchdog", daemon=True)
        thread.start()
        before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            writer.close()
            thread.join()
            reader.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._end_within(self._grace_s + MARGIN_S)
        self._on_signal()

    def _read(self, reader: socket.socket) -> None:
        repeated = False
        while numbers := reader.recv(1):
            if numbers[0] in _SIGNALS:
                self._end_within(_SECOND_SIGNAL_S if repeated else self._grace_s + MARGIN_S)
                repeated = True

    def _end_within(self, seconds: float) -> None:
        """Start the timer, unless an earlier one is running."""
        with self._lock:
            ends_at = time.monotonic() + seconds
            if ends_at < self._ends_at:
                self._ends_at = ends_at
                faulthandler.dump_traceback_later(seconds, exit=True)
