"""A server of its own for a run, on free ports of this machine and with a data folder that is deleted afterwards."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from hunyuanocr.errors import ConfigError

_ROOT = Path(__file__).parents[2]
_READY_S = 600.0  # a GPU's graphs are compiled on the first start
_END_S = 60.0
_PLAIN = {"HUNYUANOCR_LOG__FORMAT": "text"}  # its address is read from what it says
_SMALL = {"HUNYUANOCR_PIPELINE__CACHE_MB": "1"}  # full before the warm-up is over: that it fills is no leak


@contextmanager
def server(flags: Sequence[str], log: Path) -> Iterator[str]:
    """The address of its API, once it is ready; what it says goes to `log`. Raises ConfigError when it does not start."""
    with tempfile.TemporaryDirectory(prefix="hunyuanocr-soak-") as data, log.open("w", encoding="utf-8") as said:
        command = [sys.executable, str(_ROOT / "app_web.py"), "--no-page", "--host", "127.0.0.1", "--port=0", "--api-port=0"]
        process = subprocess.Popen(  # noqa: S603 -- our own program
            [*command, *flags], cwd=_ROOT, env=_SMALL | os.environ | _PLAIN | {"HUNYUANOCR_DATA": data},
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield _ready(process, log)
        finally:
            process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + _READY_S
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"API alone:\s+(http://[^\s\"]+)", log.read_text(encoding="utf-8", errors="replace"))
        if found and _green(found[1]):
            return found[1]
        time.sleep(0.3)
    raise ConfigError("The server did not start.", hint=f"Its words are in {log}.")


def _green(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=10.0).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
