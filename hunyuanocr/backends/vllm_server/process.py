"""vLLM as a child: started, watched, started again when it dies, and never left behind."""

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
from hunyuanocr.backends.vllm_server import command
from hunyuanocr.config import Settings
from hunyuanocr.errors import BackendUnavailable, ConfigError, HunyuanOcrError

log = logging.getLogger(__name__)

_MAX_START_S = 900.0  # a GPU's graphs are compiled on the first start
_PAUSES_S = (0.0, 1.0, 5.0, 15.0, 60.0)  # before the next start, by how many ended early in a row
_SETTLED_S = 5.0  # an engine that has answered for so long did not fail at its start
_LOOP = 3  # early ends in a row that are called a loop
_LINES = 200
_ELSEWHERE = ("See root cause above", "See stack trace (above)")
_NAME = re.compile(r"\b[A-Za-z_][A-Za-z_.]{0,80}Error\b")  # torch.OutOfMemoryError
_POLL_S = 0.25
Probe = Callable[[httpx.AsyncClient], Awaitable[None]]
"""Asks for a real answer. Raises a HunyuanOcrError if none comes."""


class VllmProcess:
    """The server of one model, behind a Unix socket that only this user can open. `ready` is set while it answers."""

    def __init__(self, settings: Settings, folder: Path, name: str, probe: Probe) -> None:
        """Nothing is started yet. Raises ConfigError and MissingDependency for what cannot work."""
        self._home = Path(tempfile.gettempdir()) / f"hunyuanocr-vllm-{secrets.token_hex(8)}"
        self._folder = folder
        gpu = command.find_gpu(settings.device)
        self._command = command.command(settings, folder, name, self._home, gpu)
        self._environment = command.environment(settings, folder, gpu)
        self._probe = probe
        self._lines: deque[str] = deque(maxlen=_LINES)  # of the present engine
        self._said = ""  # what the one before it said last
        self._watching: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._early = 0  # engines in a row that ended early
        self._ended = 0  # engines, all in all
        self._answered = math.inf  # when the present one did first
        self._changed = asyncio.Condition()
        self.ready = False
        transport = httpx.AsyncHTTPTransport(uds=str(self._home / command.SOCKET), limits=httpx.Limits(max_connections=None))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://vllm", timeout=httpx.Timeout(None, connect=5.0))

    async def start(self) -> None:
        """Start, and wait for the first real answer. Raises ConfigError if the engine ends instead, three times in a row."""
        if self._watching is None:
            self._home.mkdir(mode=0o700)
            self._watching = asyncio.create_task(self._watch())
        async with self._changed:
            await self._changed.wait_for(lambda: self.ready or self._early >= _LOOP)
        if not self.ready:
            log.error("vLLM does not start. Its last lines:\n%s", "\n".join(self._lines))  # nobody has sent it anything yet
            await self.close()
            raise ConfigError(f"vLLM does not start: {self._said}", hint="The log has its last lines.")

    async def wait_ready(self) -> None:
        """Wait for the next engine. Raises ReaderUnavailable when that cannot be soon."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.ready or self._early >= _LOOP or self._watching is None)
        if not self.ready:
            raise BackendUnavailable((await self.health()).detail)

    async def health(self) -> Health:
        """Ready while the engine answers."""
        if self.ready:
            return Health(True, "ready", self._ended)
        if self._early >= _LOOP:
            often = f"{self._early} times in a row soon after its start"
            return Health(False, f"vLLM has ended {often}; its last words: {self._said}", self._ended)
        said = "vLLM is starting." if self._early == 0 else "vLLM has ended and is being started again."
        return Health(False, said, self._ended)

    async def close(self) -> None:
        """End the engine and all of its processes."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await self._set(ready=False)
        await self.client.aclose()
        shutil.rmtree(self._home, ignore_errors=True)

    async def _watch(self) -> None:
        while True:
            self._answered = math.inf
            try:
                await self._one_life()
                self._said = self._reason()
            except HunyuanOcrError as e:
                self._said = f"it answered nothing: {e.message} {e.hint}"
            except Exception as e:  # the watch goes on, whatever it was
                log.exception("vLLM could not be watched.")
                self._said = f"{type(e).__name__}: {e}"
            self._early = 0 if time.monotonic() - self._answered > _SETTLED_S else self._early + 1
            self._ended += 1
            await self._set(ready=False)
            pause = _PAUSES_S[min(self._early, len(_PAUSES_S) - 1)]
            log.error("vLLM has ended (%s). It is started again in %g s.", self._said, pause)
            await asyncio.sleep(pause)

    async def _one_life(self) -> None:
        """Start it, wait until it answers, then until it ends. All of its processes are gone afterwards."""
        command.prepare_home(self._folder, self._home)
        guard = Path(command.__file__).with_name("process_guard.py")
        process = await asyncio.create_subprocess_exec(
            self._command[0], "-I", str(guard), *self._command, env=self._environment, cwd=self._home,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # away from our terminal too, which would stop it
        )  # fmt: skip
        self._process = process
        self._lines.clear()
        listening = asyncio.create_task(self._listen(process))
        try:
            ended = asyncio.create_task(process.wait())
            answering = asyncio.create_task(self._until_it_answers())
            done, _ = await asyncio.wait({ended, answering}, return_when=asyncio.FIRST_COMPLETED)
            if answering in done:
                answering.result()
                self._answered = time.monotonic()
                await self._set(ready=True)
                await ended
        finally:
            answering.cancel()
            ended.cancel()
            await self._end(process)
            await asyncio.wait({listening}, timeout=5.0)  # its last words; they end with the last process
            listening.cancel()
            await asyncio.gather(listening, answering, ended, return_exceptions=True)

    async def _until_it_answers(self) -> None:
        try:
            async with asyncio.timeout(_MAX_START_S):
                while not await self._healthy():  # noqa: ASYNC110 -- nothing but the server can tell
                    await asyncio.sleep(_POLL_S)
                await self._probe(self.client)
        except TimeoutError as e:
            raise BackendUnavailable(f"It did not come up within {_MAX_START_S:g} s.") from e

    async def _healthy(self) -> bool:
        """Whether the server says that its engine lives. One that is too busy to say so does."""
        try:
            return (await self.client.get("/health", timeout=10.0)).is_success
        except httpx.TimeoutException:
            return True
        except httpx.TransportError:
            return False

    async def report_failure(self) -> None:
        """A request has failed: end a server whose engine is dead at once, for it takes its time to see that."""
        process = self._process
        if self.ready and process is not None and not await self._healthy() and process is self._process:
            await self._set(ready=False)
            self._kill(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Kill the whole group. What vLLM works on is of no use to anybody by now."""
        self._kill(process)
        await process.wait()

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Keep its last words. They are not logged as they come: they may hold what clients sent."""
        if process.stdout is None:
            return
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than what is kept of a stream; whoever does not listen on stops the engine
                continue
            if not line:
                return
            self._lines.append(line.decode(errors="replace").rstrip())

    async def _set(self, *, ready: bool) -> None:
        async with self._changed:
            self.ready = ready
            self._changed.notify_all()

    def _reason(self) -> str:
        """The last line that names an error, and no other place for it, with the two after it; or the last line at all.

        Of an engine that has answered the error's name alone: its words may repeat what clients sent, and this is logged.
        """
        lines = [line.strip() for line in self._lines if line.strip()] or ["it said nothing"]
        named = (n for n, line in enumerate(lines) if "Error" in line and not any(w in line for w in _ELSEWHERE))
        last = max(named, default=len(lines) - 1)
        if self._answered == math.inf:
            return " ".join(lines[last : last + 3])[:400]
        name = _NAME.search(lines[last])
        return "its words are left out: they may hold what was sent" if name is None else name[0]
