"""vLLM as a child process: started, supervised, restarted after a crash, and stopped with this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import re
import secrets
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from hunyuanocr.backends.base import Health
from hunyuanocr.backends.vllm_server.command import SOCKET, build_command, environment, find_gpu, prepare_home
from hunyuanocr.config import Settings
from hunyuanocr.errors import BackendUnavailable, ConfigError, HunyuanOcrError

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 900.0  # CUDA graphs are compiled at the first start
_STABLE_S = 5.0  # after so long a server that answers did not fail at its start
_MAX_LINES = 200  # of output that are kept
_CAUSE_ABOVE = ("See root cause above", "See stack trace (above)")
_ERROR_NAME = re.compile(r"\b[A-Za-z_][A-Za-z_.]{0,80}Error\b")  # torch.OutOfMemoryError
_POLL_INTERVAL_S = 0.25
Probe = Callable[[httpx.AsyncClient], Awaitable[None]]
"""Requests an answer. Raises a HunyuanOcrError if there is none."""


def temporary_folder() -> Path:
    """Return the folder of temporary files. Raises ConfigError if none can be written."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as e:
        hint = "Set TMPDIR to a folder that this program's user can write to."
        raise ConfigError("No temporary folder is writable; vLLM needs one.", hint=hint) from e


class VllmProcess:
    """The server of one model, on a Unix socket that only this user can open. `ready` is True while it answers."""

    backoffs_s: tuple[float, ...] = (0.0, 1.0, 5.0, 15.0, 60.0)  # before the next start, by the number of consecutive early exits
    max_early_exits = 3  # in a row; then the start is reported as failed

    def __init__(self, settings: Settings, folder: Path, name: str, probe: Probe) -> None:
        """Prepare the command line, without starting the server. Raises ConfigError, MissingDependency."""
        self.home = temporary_folder() / f"hunyuanocr-vllm-{secrets.token_hex(8)}"
        self._folder = folder
        gpu = find_gpu(settings.device)
        self.command = build_command(settings, folder, name, self.home, gpu)
        self._environment = environment(settings, folder, gpu)
        self._probe = probe
        self._lines: deque[str] = deque(maxlen=_MAX_LINES)  # of the current server
        self._last_error = ""  # of the previous server
        self._supervision: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._early_exits = 0  # in a row
        self._exits = 0  # in total
        self._ready_since = math.inf  # of the current server
        self._changed = asyncio.Condition()
        self.ready = False
        transport = httpx.AsyncHTTPTransport(uds=str(self.home / SOCKET), limits=httpx.Limits(max_connections=None))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://vllm", timeout=httpx.Timeout(None, connect=5.0))

    async def start(self) -> None:
        """Start, and wait for the first answer. Raises ConfigError if the server exits three times in a row instead."""
        if self._supervision is None:
            self.home.mkdir(mode=0o700)
            self._supervision = asyncio.create_task(self._supervise())
        async with self._changed:
            await self._changed.wait_for(lambda: self.ready or self._failed)
        if not self.ready:
            log.error("vLLM does not start. Its last output:\n%s", "\n".join(self._lines))  # contains no client data yet
            await self.close()
            raise ConfigError(f"vLLM does not start: {self._last_error}", hint="See its last output in the log.")

    @property
    def _failed(self) -> bool:
        return self._early_exits >= self.max_early_exits

    async def wait_ready(self) -> None:
        """Wait until the server is ready. Raises BackendUnavailable if it fails to start repeatedly."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.ready or self._failed or self._supervision is None)
        if not self.ready:
            raise BackendUnavailable((await self.health()).detail)

    async def health(self) -> Health:
        """Return ready while the server answers."""
        if self.ready:
            return Health(True, "ready", self._exits)
        if self._failed:
            detail = f"vLLM exited {self._early_exits} times in a row shortly after its start: {self._last_error}"
        else:
            detail = "vLLM is starting." if self._early_exits == 0 else "vLLM exited and is being restarted."
        return Health(False, detail, self._exits)

    async def close(self) -> None:
        """Stop the server and all of its processes."""
        supervision, self._supervision = self._supervision, None
        if supervision is not None:
            supervision.cancel()
            await asyncio.gather(supervision, return_exceptions=True)
        await self._set(ready=False)
        await self.client.aclose()
        shutil.rmtree(self.home, ignore_errors=True)

    async def _supervise(self) -> None:
        while True:
            self._ready_since = math.inf
            try:
                await self._run_once()
                self._last_error = self._reason()
            except HunyuanOcrError as e:
                self._last_error = f"it did not answer: {e.message} {e.hint}"
            except Exception as e:  # supervision must continue
                log.exception("The supervision of vLLM failed.")
                self._last_error = f"{type(e).__name__}: {e}"
            self._early_exits = 0 if time.monotonic() - self._ready_since > _STABLE_S else self._early_exits + 1
            self._exits += 1
            await self._set(ready=False)
            backoff = self.backoffs_s[min(self._early_exits, len(self.backoffs_s) - 1)]
            log.error("vLLM exited (%s); restarting in %g s.", self._last_error, backoff)
            await asyncio.sleep(backoff)

    async def _run_once(self) -> None:
        """Run the server once: start it, wait until it answers, then until it exits. Then kill all of its processes."""
        prepare_home(self._folder, self.home)
        guard = Path(__file__).with_name("process_guard.py")
        process = await asyncio.create_subprocess_exec(
            self.command[0],
            "-I",
            str(guard),
            *self.command,
            env=self._environment,
            cwd=self.home,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # so that signals of the terminal do not reach it
        )
        self._process = process
        self._lines.clear()
        reading_output = asyncio.create_task(self._read_output(process))
        try:
            ended = asyncio.create_task(process.wait())
            becoming_ready = asyncio.create_task(self._wait_until_ready())
            done, _ = await asyncio.wait({ended, becoming_ready}, return_when=asyncio.FIRST_COMPLETED)
            if becoming_ready in done:
                becoming_ready.result()
                self._ready_since = time.monotonic()
                await self._set(ready=True)
                await ended
        finally:
            becoming_ready.cancel()
            ended.cancel()
            await self._terminate(process)
            await asyncio.wait({reading_output}, timeout=5.0)  # the rest of its output
            reading_output.cancel()
            await asyncio.gather(reading_output, becoming_ready, ended, return_exceptions=True)

    async def _wait_until_ready(self) -> None:
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                while not await self._healthy():  # noqa: ASYNC110 -- the server has no event to wait for
                    await asyncio.sleep(_POLL_INTERVAL_S)
                await self._probe(self.client)
        except TimeoutError as e:
            raise BackendUnavailable(f"It was not ready within {_START_TIMEOUT_S:g} s.") from e

    async def _healthy(self) -> bool:
        """Return whether the server reports a working engine. A server that is too busy to answer counts as healthy."""
        try:
            return (await self.client.get("/health", timeout=10.0)).is_success
        except httpx.TimeoutException:
            return True
        except httpx.TransportError:
            return False

    async def report_failure(self) -> None:
        """Kill a server whose engine has crashed, after a failed request: the server itself detects it later."""
        process = self._process
        if self.ready and process is not None and not await self._healthy() and process is self._process:
            await self._set(ready=False)
            self._kill(process)

    async def _terminate(self, process: asyncio.subprocess.Process) -> None:
        """Kill the process group without a grace period: its running requests have been cancelled."""
        self._kill(process)
        await process.wait()

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    async def _read_output(self, process: asyncio.subprocess.Process) -> None:
        """Keep the last lines of output. They are not logged, because they may contain client data."""
        if process.stdout is None:
            return
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line above the stream's limit; reading must continue, or the server would block
                continue
            if not line:
                return
            self._lines.append(line.decode(errors="replace").rstrip())

    async def _set(self, *, ready: bool) -> None:
        async with self._changed:
            self.ready = ready
            self._changed.notify_all()

    def _reason(self) -> str:
        """Return the last line of output with an error, and the two lines after it; otherwise the last line.

        If the server has answered requests, return only the name of the error: its text may contain client data, and is logged.
        """
        lines = [line.strip() for line in self._lines if line.strip()] or ["no output"]
        errors = (n for n, line in enumerate(lines) if "Error" in line and not any(w in line for w in _CAUSE_ABOVE))
        last = max(errors, default=len(lines) - 1)
        if self._ready_since == math.inf:
            return " ".join(lines[last : last + 3])[:400]
        name = _ERROR_NAME.search(lines[last])
        return "its output is omitted, because it may contain client data" if name is None else name[0]
