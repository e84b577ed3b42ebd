"""The life of a watched folder: look, read, file, and wait out whatever keeps it from that."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
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
from hunyuanocr.services.csv_safety import escape_cell
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.services.watch.results import Answer, ResultFiler
from hunyuanocr.services.watch.scanner import FolderScanner, ScannedFile, has_changed, read_if_unchanged
from hunyuanocr.types import Result, Task

log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 3  # of what may go better next time, and of a file at which the process died
_FIRST_BACKOFF_S = 2.0  # before a file is tried again; twice as long each time
_MAX_BACKOFF_S = 60.0


@dataclass(frozen=True)
class WatchOptions:
    """What is done with the files: the task, the form of the answer, and who else is told.

    `answer` makes of a result what is written as JSON; `keep` stores it as a record; `tell` hears of each file that was filed,
    by its path in the watched folder and the code of its failure, or None.
    """

    task: Task
    answer: Callable[[Result], Answer]
    keep: Callable[[Result, bytes], Awaitable[None]] | None = None
    tell: Callable[[Path, str | None], None] | None = None
    table: bool = False


@dataclass
class _Backoff:
    times: int
    until: float


class Watcher:
    """Reads what is new in `folder`. `counts` are the files that were filed since the start."""

    def __init__(
        self, folder: Path, options: WatchOptions, background: BackgroundReader, *, results: Path | None = None,
        subfolders: bool = False,
        interval_s: float = 2.0, max_bytes: int,
    ) -> None:  # fmt: skip
        self.folder = folder.absolute()
        self.options = options
        self.background = background
        self.filer = ResultFiler(self.folder, None if results is None else results.absolute())
        self.scanner = FolderScanner(self.folder, subfolders=subfolders, skip=self.filer.own)
        self.counts = {"done": 0, "failed": 0}
        self._interval_s = interval_s
        self._max_bytes = max_bytes
        self._queue: asyncio.PriorityQueue[tuple[int, int, ScannedFile]] = asyncio.PriorityQueue()  # suspects last
        self._numbers = itertools.count()
        self._taken: set[Path] = set()
        self._backoffs: dict[ScannedFile, _Backoff] = {}
        self._there: bool | None = None

    async def run(self, *, once: bool = False) -> None:
        """Watch until cancelled; with `once`, until everything that is there is filed, or cannot be for now."""
        async with asyncio.TaskGroup() as group:
            hands = [group.create_task(self._work(hand)) for hand in range(MAX_WORKERS)]
            while True:
                await self._look()
                if once and self._nothing_left():
                    break
                await asyncio.sleep(self._interval_s)
            for hand in hands:
                hand.cancel()

    def _nothing_left(self) -> bool:
        return not self._taken and not self.scanner.unstable and all(t.times >= _MAX_ATTEMPTS for t in self._backoffs.values())

    @property
    def pending_errors(self) -> int:
        """Files that could not be filed so far, because of the disk or the database, and will be tried again."""
        return len(self._backoffs)

    async def _look(self) -> None:
        try:
            complete = await asyncio.to_thread(self.scanner.scan)
        except OSError as e:
            if self._there is not False:
                log.error("The watched folder %s cannot be listed: %s. Waiting for it.", self.folder, e.strerror)
            self._there, self.scanner.unstable = False, 0
            return
        if self._there is False:
            log.info("The watched folder %s is back.", self.folder)
        self._there = True
        still = set(complete)
        self._backoffs = {f: t for f, t in self._backoffs.items() if f in still or f.path in self._taken}
        now = time.monotonic()
        for found in complete:
            trouble = self._backoffs.get(found)
            if found.path not in self._taken and (trouble is None or trouble.until <= now):
                self._taken.add(found.path)
                self._line_up(found)

    def _line_up(self, found: ScannedFile, deaths: int = 0) -> None:
        self._queue.put_nowait((deaths, next(self._numbers), found))

    async def _work(self, hand: int) -> None:
        while True:
            await self.background.wait_until_needed(hand)
            rank, _, found = await self._queue.get()
            over = True
            try:
                over = await self._take(found, rank)
            except (OSError, HunyuanOcrError) as e:  # the disk, the share or the database, not the picture
                self._rest(found, e)
            except Exception as e:  # a fault of ours must not end the watch
                log.exception("Something broke inside while a file of the watched folder was read.")
                self._rest(found, e)
            finally:
                if over:
                    self._taken.discard(found.path)

    async def _take(self, found: ScannedFile, rank: int = 0) -> bool:
        """Read and file it; False when it has to line up again, behind files at which the process died less often."""
        data = await asyncio.to_thread(read_if_unchanged, self.folder, found, self._max_bytes)
        if data is None:
            return True  # it has changed: the next looks will tell when it is complete
        id = await asyncio.to_thread(_identity, found, data, self.options.task)
        deaths = await asyncio.to_thread(self.filer.crash_count, id)
        if deaths > rank:
            self._line_up(found, deaths)
            return False
        answer = await asyncio.to_thread(self.filer.find_result, found, id)
        if answer is None:
            try:
                answer = await self._read(found, id, data, deaths)
            except StoreUnavailable:
                raise
            except HunyuanOcrError as e:
                if _passing(e) and self._tries(found) < _MAX_ATTEMPTS:
                    raise
                if not await self._changed(found):
                    await self._fail(found, id, e)
                return True
        if answer is not None:
            table = _table(answer) if self.options.table else None
            await asyncio.to_thread(self.filer.file_done, found, answer, table)
            self._filed(found, None)
        return True

    async def _read(self, found: ScannedFile, id: str, data: bytes, deaths: int) -> Answer | None:
        """The answer, kept as a record; None when the file has changed meanwhile, so that it is the answer to something else."""
        if len(data) > self._max_bytes:
            raise ImageTooLarge(f"The file has {found.size} bytes; the limit is {self._max_bytes}.")
        if deaths >= _MAX_ATTEMPTS:
            await asyncio.to_thread(self.filer.clear_mark, id)  # a person who puts it back means it
            raise BackendCrashed(f"The process died {deaths} times while this picture was read.")
        request = Request(data, self.options.task, id=id)
        async with self.background.slot(suspect=deaths > 0):
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
            "file": _shown(found.path), "id": id, "success": False, "detail": e.message, "code": e.code, "hint": e.hint,
        }  # fmt: skip
        await asyncio.to_thread(self.filer.file_failed, found, reason)
        self._filed(found, e.code)

    async def _changed(self, found: ScannedFile) -> bool:
        return await asyncio.to_thread(has_changed, self.folder, found)

    def _filed(self, found: ScannedFile, code: str | None) -> None:
        self._backoffs.pop(found, None)
        self.counts["failed" if code else "done"] += 1
        if self.options.tell is not None:
            self.options.tell(found.path, code)

    def _tries(self, found: ScannedFile) -> int:
        trouble = self._backoffs.get(found)
        return 1 + (trouble.times if trouble else 0)

    def _rest(self, found: ScannedFile, e: Exception) -> None:
        if isinstance(e, FileNotFoundError) and not os.path.lexists(self.folder / found.path):
            return  # somebody took it away
        times = self._tries(found)
        rest = min(_FIRST_BACKOFF_S * 2 ** (times - 1), _MAX_BACKOFF_S)
        self._backoffs[found] = _Backoff(times, time.monotonic() + rest)
        words = e.message if isinstance(e, BackendFailed) else f"{e.message} {e.hint}" if isinstance(e, HunyuanOcrError) else None
        why = words or getattr(e, "strerror", None) or type(e).__name__  # a reader's hint may repeat what it was sent
        log.warning("A file of the watched folder stays for now, and is tried again in %.0f s: %s", rest, why)


def validate(chosen: WatchSettings) -> Path:
    """The folder to watch. Raises ConfigError when none is named, or one that cannot be."""
    if chosen.folder is None:
        raise ConfigError("No folder is named to be watched.", hint="Set 'watch.folder'.")
    if chosen.folder.exists() and not chosen.folder.is_dir():
        raise ConfigError("What is to be watched is no folder.", hint="Name a folder; it may also come later.")
    return chosen.folder


def create_watcher(
    chosen: WatchSettings, settings: Settings, background: BackgroundReader, answer: Callable[[Result], Answer], *,
    recorder: Recorder | None = None, tell: Callable[[Path, str | None], None] | None = None,
) -> Watcher:  # fmt: skip
    """The watcher of `chosen.folder`. Raises ConfigError as `validate` does."""
    folder = validate(chosen)
    task = parse_instruction(chosen.instruction)
    wanted = WatchOptions(task, answer, _keeping(recorder, chosen.instruction), tell, table=chosen.csv)
    return Watcher(
        folder, wanted, background, results=chosen.results, subfolders=chosen.subfolders,
        interval_s=chosen.interval_s, max_bytes=settings.images.max_bytes,
    )  # fmt: skip


def _keeping(recorder: Recorder | None, instruction: str) -> Callable[[Result, bytes], Awaitable[None]] | None:
    """Unlike an answer that somebody waits for, a file stays where it is until its record can be written."""
    if recorder is None or recorder.database is None or recorder.ephemeral:
        return None
    database = recorder.database

    async def keep(result: Result, data: bytes) -> None:
        entry = await asyncio.to_thread(recorder.prepare, result, owner="local", source="watch", instruction=instruction)
        await database.write(recorder.write, entry, data)

    return keep


def _passing(e: HunyuanOcrError) -> bool:
    """Whether the next try may go better. The pipeline's waits are over before: what is left is the reader's bad moment."""
    return isinstance(e, (DeadlineExceeded, BackendFailed)) and not isinstance(e, BackendCrashed)


def _identity(found: ScannedFile, data: bytes, task: Task) -> str:
    """32 hexadecimal digits that are the same whenever this file is read in the same way, so that its record is one."""
    digest = hashlib.sha256(data)
    for part in (os.fsencode(found.path), str(found.mtime_ns).encode(), repr(task).encode()):
        digest.update(b"\0" + part)
    return digest.hexdigest()[:32]


def _shown(path: Path) -> str:
    """A name as text; Linux takes any bytes as a name."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def _table(answer: dict[str, Any]) -> str:
    """One row: the file and its fields, or its text when no field was asked for."""
    fields: dict[str, Any] = answer.get("fields") or {"text": answer.get("text")}
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["file", *map(escape_cell, fields)])
    writer.writerow([escape_cell(answer.get("file")), *(escape_cell(value) for value in fields.values())])
    return out.getvalue()
