"""The watcher of a folder: scan, read, write results, and retry after errors."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hunyuanocr.config import Settings, WatchSettings
from hunyuanocr.errors import (
    BackendCrashed,
    BackendFailed,
    ConfigError,
    DeadlineExceeded,
    HunyuanOcrError,
    ImageTooLarge,
    StoreUnavailable,
)
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Request
from hunyuanocr.services.background_reader import MAX_WORKERS, BackgroundReader
from hunyuanocr.services.csv_safety import csv_row
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.services.watch.results import Answer, ResultFiler
from hunyuanocr.services.watch.scanner import FolderScanner, ScannedFile, has_changed, read_if_unchanged
from hunyuanocr.types import Result, Task

log = logging.getLogger(__name__)

_MAX_BACKOFF_S = 60.0


@dataclass(frozen=True)
class WatchOptions:
    """How files are processed: the task, the format of the result, and who is notified.

    `answer` converts a result to JSON values; `keep` stores it as a record; `on_filed` is called after each file, with its path
    in the watched folder and an error code or None.
    """

    task: Task
    answer: Callable[[Result], Answer]
    keep: Callable[[Result, bytes], Awaitable[None]] | None = None
    on_filed: Callable[[Path, str | None], None] | None = None
    table: bool = False


@dataclass
class _Backoff:
    times: int
    until: float


class Watcher:
    """Read new files in `folder`. `counts`: processed files since the start."""

    max_attempts = 3  # for transient errors, and for a file that crashed the process
    first_backoff_s = 2.0  # before a file is tried again; doubled each time

    def __init__(
        self,
        folder: Path,
        options: WatchOptions,
        background: BackgroundReader,
        *,
        results: Path | None = None,
        subfolders: bool = False,
        interval_s: float = 2.0,
        max_bytes: int,
    ) -> None:
        self.folder = folder.absolute()
        self.options = options
        self.background = background
        self.filer = ResultFiler(self.folder, None if results is None else results.absolute())
        self.scanner = FolderScanner(self.folder, subfolders=subfolders, skip=self.filer.own)
        self.counts = {"done": 0, "failed": 0}
        self._interval_s = interval_s
        self._max_bytes = max_bytes
        self._queue: asyncio.PriorityQueue[tuple[int, int, ScannedFile]] = asyncio.PriorityQueue()  # crash suspects last
        self._numbers = itertools.count()
        self._taken: set[Path] = set()
        self._backoffs: dict[ScannedFile, _Backoff] = {}
        self._available: bool | None = None

    async def run(self, *, once: bool = False) -> None:
        """Watch until cancelled; with `once`, until all current files are processed or have failed for now."""
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._work(number)) for number in range(MAX_WORKERS)]
            while True:
                await self._scan()
                if once and self._is_finished():
                    break
                await asyncio.sleep(self._interval_s)
            for worker in workers:
                worker.cancel()

    def _is_finished(self) -> bool:
        failed = all(backoff.times >= self.max_attempts for backoff in self._backoffs.values())
        return not self._taken and not self.scanner.unstable and failed

    @property
    def pending_errors(self) -> int:
        """Number of files that failed because of the disk or the database, and will be tried again."""
        return len(self._backoffs)

    async def _scan(self) -> None:
        try:
            complete = await asyncio.to_thread(self.scanner.scan)
        except OSError as e:
            if self._available is not False:
                log.error("Cannot list the watched folder %s: %s. Waiting for it.", self.folder, e.strerror)
            self._available, self.scanner.unstable = False, 0
            return
        if self._available is False:
            log.info("The watched folder %s is available again.", self.folder)
        self._available = True
        current = set(complete)
        self._backoffs = {f: b for f, b in self._backoffs.items() if f in current or f.path in self._taken}
        now = time.monotonic()
        for found in complete:
            backoff = self._backoffs.get(found)
            if found.path not in self._taken and (backoff is None or backoff.until <= now):
                self._taken.add(found.path)
                self._enqueue(found)

    def _enqueue(self, found: ScannedFile, crashes: int = 0) -> None:
        self._queue.put_nowait((crashes, next(self._numbers), found))

    async def _work(self, worker: int) -> None:
        while True:
            await self.background.wait_until_needed(worker)
            rank, _, found = await self._queue.get()
            finished = True
            try:
                finished = await self.process(found, rank)
            except (OSError, HunyuanOcrError) as e:  # an error of the disk, the share or the database, not of the file
                self._back_off(found, e)
            except Exception as e:  # a bug must not stop the watcher
                log.exception("Unexpected error while a file of the watched folder was processed.")
                self._back_off(found, e)
            finally:
                if finished:
                    self._taken.discard(found.path)

    async def process(self, found: ScannedFile, rank: int = 0) -> bool:
        """Read a file and write its result; return False if it was queued again, behind files with fewer crashes."""
        data = await asyncio.to_thread(read_if_unchanged, self.folder, found, self._max_bytes)
        if data is None:
            return True  # it has changed: the next scans find out when it is complete
        id = await asyncio.to_thread(_identity, found, data, self.options.task)
        crashes = await asyncio.to_thread(self.filer.crash_count, id)
        if crashes > rank:
            self._enqueue(found, crashes)
            return False
        answer = await asyncio.to_thread(self.filer.find_result, found, id)
        if answer is None:
            try:
                answer = await self._read(found, id, data, crashes)
            except StoreUnavailable:
                raise
            except HunyuanOcrError as e:
                if _is_transient(e) and self._attempt(found) < self.max_attempts:
                    raise
                if not await self._changed(found):
                    await self._fail(found, id, e)
                return True
        if answer is not None:
            table = _table(answer) if self.options.table else None
            await asyncio.to_thread(self.filer.file_done, found, answer, table)
            self._filed(found, None)
        return True

    async def _read(self, found: ScannedFile, id: str, data: bytes, crashes: int) -> Answer | None:
        """Return the result and store it as a record; None if the file has changed in the meantime."""
        if len(data) > self._max_bytes:
            raise ImageTooLarge(f"The file has {found.size} bytes; the limit is {self._max_bytes}.")
        if crashes >= self.max_attempts:
            await asyncio.to_thread(self.filer.clear_mark, id)  # if a person puts the file back, it is tried again
            raise BackendCrashed(f"The process crashed {crashes} times while it read this file.")
        request = Request(data, self.options.task, id=id)
        async with self.background.slot(suspect=crashes > 0):
            await asyncio.to_thread(self.filer.mark_started, id)
            try:
                result = await self.background.read(request)
            finally:
                await asyncio.shield(asyncio.to_thread(self.filer.clear_mark, id))
        if await self._changed(found):
            return None
        if self.options.keep is not None:
            await self.options.keep(result, data)
        return {"file": _shown(found.path), **self.options.answer(result), "id": id}

    async def _fail(self, found: ScannedFile, id: str, e: HunyuanOcrError) -> None:
        reason = {
            "file": _shown(found.path),
            "id": id,
            "success": False,
            "detail": e.message,
            "code": e.code,
            "hint": e.hint,
        }
        await asyncio.to_thread(self.filer.file_failed, found, reason)
        self._filed(found, e.code)

    async def _changed(self, found: ScannedFile) -> bool:
        return await asyncio.to_thread(has_changed, self.folder, found)

    def _filed(self, found: ScannedFile, code: str | None) -> None:
        self._backoffs.pop(found, None)
        self.counts["failed" if code else "done"] += 1
        if self.options.on_filed is not None:
            self.options.on_filed(found.path, code)

    def _attempt(self, found: ScannedFile) -> int:
        backoff = self._backoffs.get(found)
        return 1 + (backoff.times if backoff else 0)

    def _back_off(self, found: ScannedFile, e: Exception) -> None:
        if isinstance(e, FileNotFoundError) and not os.path.lexists(self.folder / found.path):
            return  # the file was removed
        times = self._attempt(found)
        delay = min(self.first_backoff_s * 2 ** (times - 1), _MAX_BACKOFF_S)
        self._backoffs[found] = _Backoff(times, time.monotonic() + delay)
        reason = getattr(e, "strerror", None) or type(e).__name__
        if isinstance(e, HunyuanOcrError):  # a backend's hint may repeat text of the image
            reason = e.message if isinstance(e, BackendFailed) else f"{e.message} {e.hint}"
        log.warning("A file of the watched folder will be tried again in %.0f s: %s", delay, reason)


def validate(watch: WatchSettings) -> Path:
    """Return the folder to watch. Raises ConfigError if it is not set or is not a folder."""
    if watch.folder is None:
        raise ConfigError("The watched folder is not set.", hint="Set 'watch.folder'.")
    if watch.folder.exists() and not watch.folder.is_dir():
        raise ConfigError("'watch.folder' is not a folder.", hint="Set it to a folder; the folder may be created later.")
    return watch.folder


def create_watcher(
    watch: WatchSettings,
    settings: Settings,
    background: BackgroundReader,
    answer: Callable[[Result], Answer],
    *,
    recorder: Recorder | None = None,
    on_filed: Callable[[Path, str | None], None] | None = None,
) -> Watcher:
    """Return the watcher of `watch.folder`. Raises ConfigError like `validate`."""
    folder = validate(watch)
    task = parse_instruction(watch.instruction)
    options = WatchOptions(task, answer, _record_writer(recorder, watch.instruction), on_filed, table=watch.csv)
    return Watcher(
        folder,
        options,
        background,
        results=watch.results,
        subfolders=watch.subfolders,
        interval_s=watch.interval_s,
        max_bytes=settings.images.max_bytes,
    )


def _record_writer(recorder: Recorder | None, instruction: str) -> Callable[[Result, bytes], Awaitable[None]] | None:
    """Return a function that stores a record or raises: unlike a request, a file waits until its record can be written."""
    if recorder is None or recorder.database is None or recorder.ephemeral:
        return None
    database = recorder.database

    async def keep(result: Result, data: bytes) -> None:
        entry = await asyncio.to_thread(recorder.prepare, result, owner="local", source="watch", instruction=instruction)
        await database.write(recorder.write, entry, data)

    return keep


def _is_transient(e: HunyuanOcrError) -> bool:
    """Return whether another attempt may succeed. The pipeline has retried already; what is left are errors of the backend."""
    return isinstance(e, (DeadlineExceeded, BackendFailed)) and not isinstance(e, BackendCrashed)


def _identity(found: ScannedFile, data: bytes, task: Task) -> str:
    """Return 32 hexadecimal digits, the same whenever this file is read with the same task, so that it has one record."""
    digest = hashlib.sha256(data)
    for part in (os.fsencode(found.path), str(found.mtime_ns).encode(), repr(task).encode()):
        digest.update(b"\0" + part)
    return digest.hexdigest()[:32]


def _shown(path: Path) -> str:
    """Return a path as text; Linux allows any bytes in names."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def _table(answer: dict[str, Any]) -> str:
    """Return a CSV with one row: the file and its fields, or its text if no field was requested."""
    fields: dict[str, Any] = answer.get("fields") or {"text": answer.get("text")}
    return csv_row(["file", *fields]) + csv_row([answer.get("file"), *fields.values()])
