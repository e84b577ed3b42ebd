"""Runs a program that must not outlive us: `python guard.py COMMAND…`, standard library only, run by vLLM's own interpreter.

Its standard input is a pipe that the appliance holds open. Whatever ends the appliance, SIGKILL too, closes the pipe; then all
processes of the guard's group are killed. vLLM has several, and those behind the first one would go on without it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run the command in this process's group, which the appliance has made for it; its exit status."""
    libc = ctypes.CDLL(None)

    def end_with_the_guard() -> None:  # this process has one thread as yet, so the child may run code before it becomes another
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    child = subprocess.Popen(  # noqa: S603 -- the command is the appliance's own
        sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=end_with_the_guard,  # noqa: PLW1509
    )  # fmt: skip
    threading.Thread(target=_end_with_the_appliance, daemon=True).start()
    status = child.wait()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)  # what the program left behind; the appliance kills the rest
    return status if status >= 0 else 128 - status


def _end_with_the_appliance() -> None:
    while os.read(0, 1024):
        pass
    shutil.rmtree(Path.cwd(), ignore_errors=True)  # made by the appliance for this one life, with the socket in it
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
