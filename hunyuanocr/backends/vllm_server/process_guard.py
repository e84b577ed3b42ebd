"""Runs a program that must not outlive its parent: `python process_guard.py COMMAND…`, standard library only.

Standard input is a pipe that the parent holds open. The pipe closes however the parent ends, including SIGKILL; then all
processes of the guard's group are killed. vLLM has several processes, which would continue without the first one.
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
    """Run the command in this process's group, which the parent created; return its exit status."""
    libc = ctypes.CDLL(None)

    def die_with_guard() -> None:  # safe to run between fork and exec: this process has only one thread yet
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    child = subprocess.Popen(  # noqa: S603 -- the command comes from the parent
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_guard,  # noqa: PLW1509
    )
    threading.Thread(target=_kill_group_with_parent, daemon=True).start()
    status = child.wait()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)  # remaining child processes; the parent kills those that ignore it
    return status if status >= 0 else 128 - status


def _kill_group_with_parent() -> None:
    while os.read(0, 1024):
        pass
    shutil.rmtree(Path.cwd(), ignore_errors=True)  # the server's working folder, with the socket
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
