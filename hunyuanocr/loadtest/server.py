"""A temporary server for a run, on free ports of this machine, with a data folder that is deleted afterwards."""

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
_READY_TIMEOUT_S = 600.0  # CUDA graphs are compiled on the first start
_STOP_TIMEOUT_S = 60.0
_TEXT_LOG = {"HUNYUANOCR_LOG__FORMAT": "text"}  # its address is parsed from its output
_SMALL_CACHE = {"HUNYUANOCR_PIPELINE__CACHE_MB": "1"}  # full before the warm-up is over, so that it is not mistaken for a leak


@contextmanager
def server(flags: Sequence[str], log: Path) -> Iterator[str]:
    """Yield the URL of the server's API once it is ready; write its output to `log`. Raises ConfigError if it does not start."""
    with tempfile.TemporaryDirectory(prefix="hunyuanocr-soak-") as data, log.open("w", encoding="utf-8") as output:
        command = [sys.executable, str(_ROOT / "app_web.py"), "--no-page", "--host", "127.0.0.1", "--port=0", "--api-port=0"]
        process = subprocess.Popen(  # noqa: S603 -- our own program
            [*command, *flags],
            cwd=_ROOT,
            env=_SMALL_CACHE | os.environ | _TEXT_LOG | {"HUNYUANOCR_DATA": data},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _wait_ready(process, log)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        match = re.search(r"API alone:\s+(http://[^\s\"]+)", log.read_text(encoding="utf-8", errors="replace"))
        if match and _is_ready(match[1]):
            return match[1]
        time.sleep(0.3)
    raise ConfigError("The server did not start.", hint=f"See its output in {log}.")


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=10.0).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
