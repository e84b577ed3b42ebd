"""Every answer becomes a record; where the store is down, the answer says so and goes out all the same."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from hunyuanocr.clock import Clock
from hunyuanocr.config import Settings
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.store import records
from hunyuanocr.store.database import Database
from hunyuanocr.store.image_store import ImageStore
from hunyuanocr.store.record_builder import Source, build_entry
from hunyuanocr.store.records import Entry
from hunyuanocr.types import Result, ResultWarning

log = logging.getLogger(__name__)

_WAIT_S = 5.0  # an answer never waits longer for its record
_BACKOFF_S = 5.0  # after a failure: answers in between do not wait at all


class Recorder:
    """Writes records; one for all of the appliance. Without a database (`store.enabled` off) it keeps nothing and says nothing.

    `last_error` is why the latest record could not be written, None while all is well. `clock` is the appliance's: one that
    stands before a moment that has certainly been (an empty battery) is not believed. `ephemeral`: nothing is kept but the
    results of jobs, for a while, and of them only what their owner is to be told.
    """

    def __init__(self, database: Database | None, settings: Settings, *, clock: Clock | None = None) -> None:
        self.database = database
        self.pictures = ImageStore(settings.data / "images")
        self.last_error: str | None = None
        self.clock = clock or Clock()
        self.ephemeral = settings.store.ephemeral
        self._keeps_images = settings.store.keep_images
        self._sends = settings.sync.enabled
        self._rested_at = 0.0

    def now(self) -> datetime:
        """The time of a record made now."""
        return self.clock.now()

    async def record(
        self, result: Result, *, owner: str, source: Source, instruction: str = "", device: str | None = None,
        image: bytes | None = None,
    ) -> Result:  # fmt: skip
        """Keep this answer; give it back unchanged, or with the notice `not_recorded`. Never raises, takes five seconds at most.

        A record has its Result's id, and is written once however often this is called. `image` is what was sent, and is kept
        only if the owner keeps pictures. The outbox of the sync is written along. Nothing else is needed. Who keeps rows of
        his own that must stand and fall with the record calls `prepare`, and `write` inside his own transaction.
        """
        if self.database is None or self.ephemeral:
            return result
        if time.monotonic() < self._rested_at:
            return _unrecorded(result, self.last_error or "")
        try:
            prepared = await asyncio.to_thread(
                self.prepare, result, owner=owner, source=source, instruction=instruction, device=device
            )
            async with asyncio.timeout(_WAIT_S):
                kept = await self.database.write(self.write, prepared, image)
        except TimeoutError:
            return self._failed(result, f"The database did not answer within {_WAIT_S:g} seconds.")
        except HunyuanOcrError as e:
            return self._failed(result, f"{e.message} {e.hint}")
        except Exception:  # a mistake of ours: what has been read is not lost for it
            log.exception("The record %s could not be written.", result.id)
            return self._failed(result, "Something broke inside.")
        self.last_error = None
        return result if kept else _with(result, "image_not_kept", "The picture could not be kept; the record has none.")

    def prepare(self, result: Result, *, owner: str, source: Source, instruction: str = "", device: str | None = None) -> Entry:
        """What `write` takes; may take milliseconds for a long document, and needs no database."""
        if self.ephemeral:
            instruction, device = "", None
        return build_entry(result, owner=owner, created_at=self.now(), source=source, instruction=instruction, device=device)

    def write(self, conn: Connection, prepared: Entry, image: bytes | None = None) -> bool:
        """Insert the record inside the caller's transaction, once. False when its picture could not be kept: the record is."""
        kept = True
        if image is not None and self._keeps_images:
            records.lock_pictures(conn)
            try:
                name = self.pictures.keep(image)
                prepared = replace(prepared, record=replace(prepared.record, image=name))
            except OSError as e:
                log.error("A picture could not be kept: %s", e)
                kept = False
        records.insert(conn, prepared, send=self._sends)
        return kept

    def _failed(self, result: Result, why: str) -> Result:
        if self.last_error is None:
            log.error("Answers are not recorded: %s", why)
        self.last_error = why
        self._rested_at = time.monotonic() + _BACKOFF_S
        return _unrecorded(result, why)


def _unrecorded(result: Result, why: str) -> Result:
    return _with(result, "not_recorded", f"This answer was not recorded. {why}".strip())


def _with(result: Result, code: str, message: str) -> Result:
    return replace(result, notices=(*result.notices, ResultWarning(code, message)))
