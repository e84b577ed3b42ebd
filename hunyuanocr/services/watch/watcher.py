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
    ConfigError,
    DeadlineExceeded,
    HunyuanOcrError,
    ImageTooLarge,
    ReaderCrashed,
    ReaderFailed,
    StoreUnavailable,
)
from hunyuanocr.instructions import understand
from hunyuanocr.pipeline import Request
from hunyuanocr.services.background import HANDS, Background
from hunyuanocr.services.cells import cell
from hunyuanocr.services.recording import Recorder
from hunyuanocr.services.watch.filing import Answer, Cabinet
from hunyuanocr.services.watch.looking import Found, Looker, has_changed, read_whole
from hunyuanocr.types import Result, Task

log = logging.getLogger(__name__)

_TRIES = 3  # of what may go better next time, and of a file at which the process died
_FIRST_REST_S = 2.0  # before a file is tried again; twice as long each time
_LONGEST_REST_S = 60.0


@dataclass(frozen=True)
class Wanted:
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
class _Trouble:
    times: int
    until: float


class Watcher:
    """Reads what is new in `folder`. `counts` are the files that were filed since the start."""

    def __init__(
        self, folder: Path, wanted: Wanted, background: Background, *, results: Path | None = None, subfolders: bool = False,
        interval_s: float = 2.0, max_bytes: int,
    ) -> None:  # fmt: skip
        self.folder = folder.absolute()
        self.wanted = wanted
        self.background = background
        self.cabinet = Cabinet(self.folder, None if results is None else results.absolute())
        self.looker = Looker(self.folder, subfolders=subfolders, skip=self.cabinet.own)
        self.counts = {"done": 0, "failed": 0}
        self._interval_s = interval_s
        self._max_bytes = max_bytes
        self._queue: asyncio.PriorityQueue[tuple[int, int, Found]] = asyncio.PriorityQueue()  # suspects last
        self._numbers = itertools.count()
        self._taken: set[Path] = set()
        self._troubles: dict[Found, _Trouble] = {}
        self._there: bool | None = None

    async def run(self, *, once: bool = False) -> None:
        """Watch until cancelled; with `once`, until everything that is there is filed, or cannot be for now."""
        async with asyncio.TaskGroup() as group:
            hands = [group.create_task(self._work(hand)) for hand in range(HANDS)]
            while True:
                await self._look()
                if once and self._nothing_left():
                    break
                await asyncio.sleep(self._interval_s)
            for hand in hands:
                hand.cancel()

    def _nothing_left(self) -> bool:
        return not self._taken and not self.looker.settling and all(t.times >= _TRIES for t in self._troubles.values())

    @property
    def troubled(self) -> int:
        """Files that could not be filed so far, because of the disk or the database, and will be tried again."""
        return len(self._troubles)

    async def _look(self) -> None:
        try:
            complete = await asyncio.to_thread(self.looker.look)
        except OSError as e:
            if self._there is not False:
                log.error("The watched folder %s cannot be listed: %s. Waiting for it.", self.folder, e.strerror)
            self._there, self.looker.settling = False, 0
            return
        if self._there is False:
            log.info("The watched folder %s is back.", self.folder)
        self._there = True
        still = set(complete)
        self._troubles = {f: t for f, t in self._troubles.items() if f in still or f.path in self._taken}
        now = time.monotonic()
        for found in complete:
            trouble = self._troubles.get(found)
            if found.path not in self._taken and (trouble is None or trouble.until <= now):
                self._taken.add(found.path)
                self._line_up(found)

    def _line_up(self, found: Found, deaths: int = 0) -> None:
        self._queue.put_nowait((deaths, next(self._numbers), found))

    async def _work(self, hand: int) -> None:
        while True:
            await self.background.needed(hand)
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

    async def _take(self, found: Found, rank: int = 0) -> bool:
        """Read and file it; False when it has to line up again, behind files at which the process died less often."""
        data = await asyncio.to_thread(read_whole, self.folder, found, self._max_bytes)
        if data is None:
            return True  # it has changed: the next looks will tell when it is complete
        id = await asyncio.to_thread(_identity, found, data, self.wanted.task)
        deaths = await asyncio.to_thread(self.cabinet.begun, id)
        if deaths > rank:
            self._line_up(found, deaths)
            return False
        answer = await asyncio.to_thread(self.cabinet.answer_of, found, id)
        if answer is None:
            try:
                answer = await self._read(found, id, data, deaths)
            except StoreUnavailable:
                raise
            except HunyuanOcrError as e:
                if _passing(e) and self._tries(found) < _TRIES:
                    raise
                if not await self._changed(found):
                    await self._fail(found, id, e)
                return True
        if answer is not None:
            table = _table(answer) if self.wanted.table else None
            await asyncio.to_thread(self.cabinet.file_done, found, answer, table)
            self._filed(found, None)
        return True

    async def _read(self, found: Found, id: str, data: bytes, deaths: int) -> Answer | None:
        """The answer, kept as a record; None when the file has changed meanwhile, so that it is the answer to something else."""
        if len(data) > self._max_bytes:
            raise ImageTooLarge(f"The file has {found.size} bytes; the limit is {self._max_bytes}.")
        if deaths >= _TRIES:
            await asyncio.to_thread(self.cabinet.end, id)  # a person who puts it back means it
            raise ReaderCrashed(f"The process died {deaths} times while this picture was read.")
        request = Request(data, self.wanted.task, id=id)
        async with self.background.place(suspect=deaths > 0):
            await asyncio.to_thread(self.cabinet.begin, id)
            try:
                result = await self.background.read(request)
            finally:
                await asyncio.shield(asyncio.to_thread(self.cabinet.end, id))
        if await self._changed(found):
            return None
        if self.wanted.keep is not None:
            await self.wanted.keep(result, data)
        return {"file": _shown(found.path), **self.wanted.answer(result), "id": id}

    async def _fail(self, found: Found, id: str, e: HunyuanOcrError) -> None:
        reason = {
            "file": _shown(found.path), "id": id, "success": False, "detail": e.message, "code": e.code, "hint": e.hint,
        }  # fmt: skip
        await asyncio.to_thread(self.cabinet.file_failed, found, reason)
        self._filed(found, e.code)

    async def _changed(self, found: Found) -> bool:
        return await asyncio.to_thread(has_changed, self.folder, found)

    def _filed(self, found: Found, code: str | None) -> None:
        self._troubles.pop(found, None)
        self.counts["failed" if code else "done"] += 1
        if self.wanted.tell is not None:
            self.wanted.tell(found.path, code)

    def _tries(self, found: Found) -> int:
        trouble = self._troubles.get(found)
        return 1 + (trouble.times if trouble else 0)

    def _rest(self, found: Found, e: Exception) -> None:
        if isinstance(e, FileNotFoundError) and not os.path.lexists(self.folder / found.path):
            return  # somebody took it away
        times = self._tries(found)
        rest = min(_FIRST_REST_S * 2 ** (times - 1), _LONGEST_REST_S)
        self._troubles[found] = _Trouble(times, time.monotonic() + rest)
        words = e.message if isinstance(e, ReaderFailed) else f"{e.message} {e.hint}" if isinstance(e, HunyuanOcrError) else None
        why = words or getattr(e, "strerror", None) or type(e).__name__  # a reader's hint may repeat what it was sent
        log.warning("A file of the watched folder stays for now, and is tried again in %.0f s: %s", rest, why)


def check(chosen: WatchSettings) -> Path:
    """The folder to watch. Raises ConfigError when none is named, or one that cannot be."""
    if chosen.folder is None:
        raise ConfigError("No folder is named to be watched.", hint="Set 'watch.folder'.")
    if chosen.folder.exists() and not chosen.folder.is_dir():
        raise ConfigError("What is to be watched is no folder.", hint="Name a folder; it may also come later.")
    return chosen.folder


def watcher_for(
    chosen: WatchSettings, settings: Settings, background: Background, answer: Callable[[Result], Answer], *,
    recorder: Recorder | None = None, tell: Callable[[Path, str | None], None] | None = None,
) -> Watcher:  # fmt: skip
    """The watcher of `chosen.folder`. Raises ConfigError as `check` does."""
    folder = check(chosen)
    task = understand(chosen.instruction)
    wanted = Wanted(task, answer, _keeping(recorder, chosen.instruction), tell, table=chosen.csv)
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
        await database.run(recorder.write, entry, data)

    return keep


def _passing(e: HunyuanOcrError) -> bool:
    """Whether the next try may go better. The pipeline's waits are over before: what is left is the reader's bad moment."""
    return isinstance(e, (DeadlineExceeded, ReaderFailed)) and not isinstance(e, ReaderCrashed)


def _identity(found: Found, data: bytes, task: Task) -> str:
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
    writer.writerow(["file", *map(cell, fields)])
    writer.writerow([cell(answer.get("file")), *(cell(value) for value in fields.values())])
    return out.getvalue()
