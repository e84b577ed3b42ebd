"""Store every result as a record; if the store is down, the result gets a warning and is returned anyway."""

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

_BACKOFF_S = 5.0  # after a failure: results in the meantime do not wait at all


class Recorder:
    """Write records; one instance per appliance. Without a database (`store.enabled` off) it stores nothing and adds no warning.

    `last_error` is the reason why the latest record was not written, or None. `clock` is the appliance's; a time that is
    certainly in the past (an empty battery) is replaced. `ephemeral`: only results of jobs are stored, for a short time, and
    only what their owner is allowed to see. `retry_at`: time of the monotonic clock before which, after a failure, no other
    record is written.
    """

    wait_s = 5.0  # maximum delay of a response by its record

    def __init__(self, database: Database | None, settings: Settings, *, clock: Clock | None = None) -> None:
        self.database = database
        self.pictures = ImageStore(settings.data / "images")
        self.last_error: str | None = None
        self.clock = clock or Clock()
        self.ephemeral = settings.store.ephemeral
        self._keeps_images = settings.store.keep_images
        self._sends = settings.sync.enabled
        self.retry_at = 0.0

    def now(self) -> datetime:
        """Return the time of a record created now."""
        return self.clock.now()

    async def record(
        self,
        result: Result,
        *,
        owner: str,
        source: Source,
        instruction: str = "",
        device: str | None = None,
        image: bytes | None = None,
    ) -> Result:
        """Store a result; return it unchanged or with the warning `not_recorded`. Never raises; takes at most 5 seconds.

        A record has the id of its Result and is written once, however often this is called. `image` is the uploaded file; it
        is stored only if `store.keep_images` is on. The entry for the sync's outbox is written in the same transaction. Callers
        whose own rows must be written in the same transaction call `prepare`, and then `write` inside their transaction.
        """
        if self.database is None or self.ephemeral:
            return result
        if time.monotonic() < self.retry_at:
            return _unrecorded(result, self.last_error or "")
        try:
            prepared = await asyncio.to_thread(
                self.prepare, result, owner=owner, source=source, instruction=instruction, device=device
            )
            async with asyncio.timeout(self.wait_s):
                image_stored = await self.database.write(self.write, prepared, image)
        except TimeoutError:
            return self._failed(result, f"The database did not answer within {self.wait_s:g} seconds.")
        except HunyuanOcrError as e:
            return self._failed(result, f"{e.message} {e.hint}")
        except Exception:  # a bug: the result is returned anyway
            log.exception("Record %s could not be written.", result.id)
            return self._failed(result, "Internal error.")
        self.last_error = None
        return result if image_stored else _with(result, "image_not_kept", "The image was not stored; the record has none.")

    def prepare(self, result: Result, *, owner: str, source: Source, instruction: str = "", device: str | None = None) -> Entry:
        """Return the argument for `write`. Takes milliseconds for a long document; does not use the database."""
        if self.ephemeral:
            instruction, device = "", None
        return build_entry(result, owner=owner, created_at=self.now(), source=source, instruction=instruction, device=device)

    def write(self, conn: Connection, prepared: Entry, image: bytes | None = None) -> bool:
        """Insert the record once, inside the caller's transaction. Return False if its image could not be stored."""
        image_stored = True
        if image is not None and self._keeps_images:
            records.lock_pictures(conn)
            try:
                name = self.pictures.keep(image)
                prepared = replace(prepared, record=replace(prepared.record, image=name))
            except OSError as e:
                log.error("An image could not be stored: %s", e)
                image_stored = False
        records.insert(conn, prepared, send=self._sends)
        return image_stored

    def report_failure(self, reason: str) -> None:
        """Set `last_error`; log the first failure of several."""
        if self.last_error is None:
            log.error("Results are not recorded (%s): %s", self.database.display_url if self.database else "", reason)
        self.last_error = reason

    def _failed(self, result: Result, reason: str) -> Result:
        self.report_failure(reason)
        self.retry_at = time.monotonic() + _BACKOFF_S
        return _unrecorded(result, reason)


def _unrecorded(result: Result, reason: str) -> Result:
    return _with(result, "not_recorded", f"This result was not recorded. {reason}".strip())


def _with(result: Result, code: str, message: str) -> Result:
    return replace(result, notices=(*result.notices, ResultWarning(code, message)))
