"""The whole appliance as a program, as a person starts it: for tests of its page, its ports and its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


@dataclass
class Appliance:
    """A running `app_web.py`: the addresses that it announced and what it has printed so far."""

    process: subprocess.Popen[str]
    page: str
    api: str
    printed: list[str]

    def until_ready(self, seconds: float = 240.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if httpx.get(f"{self.api}/ready", timeout=60).status_code == 200:
                return
            time.sleep(0.2)
        raise AssertionError(f"/ready never turned green: {''.join(self.printed)}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit status after a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(60)


@contextmanager
def appliance(
    *flags: str, program: tuple[str, ...] = (sys.executable, "app_web.py"), json_log: bool = False, **environment: str
) -> Iterator[Appliance]:
    """Start it on free ports of 127.0.0.1, wait for its addresses, and end it by its own process. Its data folder is its own."""
    with (
        tempfile.TemporaryDirectory(prefix="appliance-") as data,
        _started(flags, program, {"HUNYUANOCR_DATA": data} | environment, json_log=json_log) as running,
    ):
        yield running


@contextmanager
def _started(
    flags: tuple[str, ...], program: tuple[str, ...], environment: dict[str, str], *, json_log: bool
) -> Iterator[Appliance]:
    command = [*program, "--host", "127.0.0.1", "--port", "0", "--api-port", "0", "--backend", "ppocr", *flags]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    printed: list[str] = []

    def listen() -> None:
        for line in process.stdout or ():
            printed.append(line)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        begins = r'^\{.*"message": "' if json_log else "^"
        page, api = (_address(begins + what, process, printed) for what in (r"(?:Page and )?API", "API alone"))
        running = Appliance(process, page, api, printed)
        try:
            yield running
        finally:
            running.stop()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(60)
        listener.join(60)
        process.stdout.close()


def _address(what: str, process: subprocess.Popen[str], printed: list[str], seconds: float = 240.0) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = re.search(rf'{what}:\s+(https?://[^\s"]+)', "".join(printed), re.MULTILINE)
        if found:
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"No address came: {''.join(printed)}")
